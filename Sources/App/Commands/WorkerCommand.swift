import ArgumentParser
import PasswordReset

struct WorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker",
    abstract: "Send the emails and webhooks of services that run with --no-worker.",
    discussion: """
      Updates the database schema and processes the jobs in the outbox, but answers no requests for password resets. Several workers share the \
      jobs. Metrics and health checks are on ADMIN_HOST and ADMIN_PORT. Give it the same settings as the services on the database. On SIGTERM or \
      SIGINT, it finishes what is being sent and exits with 0. On SIGHUP, it reloads the email templates.
      """
  )

  func run() async throws {
    try await CommandError.withExitCodes {
      let process = try ServiceProcess()
      try await process.run { try buildWorker(process.settings, dependencies: process.dependencies, logger: process.logger) }
    }
  }
}
