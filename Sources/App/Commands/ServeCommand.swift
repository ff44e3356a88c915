import ArgumentParser
import Foundation
import ConnectionGuards
import Hummingbird
import Logging
import PasswordReset
import Prometheus
import ServiceLifecycle
import UnixSignals

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

  /// Time after which a shutdown cancels the work in progress. Container runtimes kill the process after ten seconds.
  private static let shutdownLimit = Duration.seconds(7)
  /// Time after which a shutdown waits for nothing more.
  private static let endLimit = Duration.seconds(8)
  /// Time for writing the last log lines. A log reader that stalls must not delay the end.
  private static let flushLimit = Duration.milliseconds(500)

  @Flag(
    help:
      "Development mode: generates and stores a secret key, prints emails to the terminal, and creates a demo user in an empty database.")
  var dev = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let start = Date()
      ignoreSignals()
      let settings = try Settings(environment: ProcessInfo.processInfo.environment, dev: dev)
      if dev { try await DemoUser.add(to: settings) }
      let writer = LogWriter(settings.log)
      defer { writer.flush(within: Self.flushLimit) }
      let logger = Logger(settings.log, writer: writer)
      // In development mode these warnings would only repeat that this is development mode.
      if !dev { warn(of: Checks.ofSettings(settings), logger) }
      var dependencies = ApplicationDependencies()
      dependencies.maxConnections = try maxConnections()
      dependencies.reloadsOnHangup = !dev
      ProcessMetrics.add(to: dependencies.registry, start: start)
      dependencies.registry.gauge(
        "password_reset_log_lines_lost_total", "Log lines that were lost because the reader of the log stalled.", labels: [], kind: .counter
      ) { [([], Double(writer.lost))] }
      dependencies.onListening = { [dev] port in
        if dev { printError(DemoUser.welcome(settings, port: port)) }
      }
      dependencies.onAdminListening = { [dev] port in
        if dev, settings.mail.backend == .memory { printError(AdminListener.welcome(settings, port: port)) }
      }
      if settings.log.level == .trace {
        dependencies.onStatement = { logger.trace("SQL", metadata: ["statement": "\($0)"]) }
      }
      let application = try buildApplication(settings, dependencies: dependencies, logger: logger)
      var configuration = ServiceGroupConfiguration(
        services: [application, ShutdownWatchdog(limit: Self.endLimit, writer: writer, logger: logger)],
        gracefulShutdownSignals: [.sigterm, .sigint],
        logger: logger)
      configuration.maximumGracefulShutdownDuration = Self.shutdownLimit
      try await CommandError.ofListening(host: settings.http.host, port: settings.http.port, names: "HTTP_HOST or HTTP_PORT") {
        try await ServiceGroup(configuration: configuration).run()
      }
    }
  }
}

extension ServeCommand {
  /// Ignores the signals that would end the process by default although the service can go on.
  private func ignoreSignals() {
    // The reader of the log may close the pipe.
    signal(SIGPIPE, SIG_IGN)
    // The template reloader handles it later. In development mode, closing the terminal ends the service.
    if !dev { signal(SIGHUP, SIG_IGN) }
  }

  private func warn(of findings: [Finding], _ logger: Logger) {
    for finding in findings {
      logger.warning("\(finding.message)", metadata: ["id": "\(finding.id)"].merging(finding.hint.map { ["hint": "\($0)"] } ?? [:]) { $1 })
    }
  }
}

/// Returns how many connections match the number of files that the process may open.
private func maxConnections() throws -> Int {
  DescriptorLimit.raise()
  guard let connections = ConnectionCount.limit(forDescriptors: DescriptorLimit.current) else {
    throw CommandError(message: DescriptorLimit.message, code: CommandError.configuration)
  }
  return connections
}
