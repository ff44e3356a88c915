import ArgumentParser
import Foundation
import PasswordReset

struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Run the service.",
    discussion: """
      Updates the database schema, listens on HTTP_HOST and HTTP_PORT, and processes the jobs in the outbox. Metrics and health checks are on \
      ADMIN_HOST and ADMIN_PORT. On SIGTERM or SIGINT, it accepts no new requests, finishes the work in progress, and exits with 0. On SIGHUP, \
      it reloads the email templates.
      """
  )

  @Flag(
    help:
      "Development mode: generates and stores a secret key, prints emails to the terminal, and creates a demo user in an empty database.")
  var dev = false

  @Flag(
    help: "Only answer requests. Emails and webhooks wait in the outbox until a `password-reset worker` on the same database sends them.")
  var noWorker = false

  func validate() throws {
    if dev, noWorker { throw ValidationError("--dev and --no-worker exclude each other: in development mode, the service sends the emails itself.") }
  }

  func run() async throws {
    try await CommandError.withExitCodes {
      var process = try ServiceProcess(dev: dev)
      let settings = process.settings
      if dev {
        try await DemoUser.add(to: settings)
        process.dependencies.onListening = { port in printError(DemoUser.welcome(settings, port: port)) }
        if settings.mail.backend == .memory {
          process.dependencies.onAdminListening = { port in printError(AdminListener.welcome(settings, port: port)) }
        }
      }
      try await CommandError.ofListening(host: settings.http.host, port: settings.http.port, names: "HTTP_HOST or HTTP_PORT") {
        try await process.run {
          [
            try buildApplication(
              settings, role: noWorker ? .web : .complete, dependencies: process.dependencies, logger: process.logger)
          ]
        }
      }
    }
  }
}
