import ConnectionGuards
import Foundation
import Logging
import PasswordReset
import Prometheus
import ServiceLifecycle
import UnixSignals

/// A process that works until a signal ends it.
struct ServiceProcess {
  /// Time after which a shutdown cancels the work in progress. Container runtimes kill the process after ten seconds.
  private static let shutdownLimit = Duration.seconds(7)
  /// Time after which a shutdown waits for nothing more.
  private static let endLimit = Duration.seconds(8)
  /// Time for writing the last log lines. A log reader that stalls must not delay the end.
  private static let flushLimit = Duration.milliseconds(500)

  let settings: Settings
  let logger: Logger
  var dependencies = ApplicationDependencies()
  private let writer: LogWriter

  /// Reads the settings, and logs what is unusual about them.
  init(dev: Bool = false) throws {
    let start = Date()
    Self.ignoreSignals(dev: dev)
    settings = try Settings(environment: ProcessInfo.processInfo.environment, dev: dev)
    dependencies.maxConnections = try Self.maxConnections()
    writer = LogWriter(settings.log)
    logger = Logger(settings.log, writer: writer)
    // In development mode these warnings would only repeat that this is development mode.
    if !dev { Self.warn(of: Checks.ofSettings(settings), logger) }
    dependencies.reloadsOnHangup = !dev
    ProcessMetrics.add(to: dependencies.registry, start: start)
    dependencies.registry.gauge(
      "password_reset_log_lines_lost_total", "Log lines that were lost because the reader of the log stalled.", labels: [], kind: .counter
    ) { [writer] in [([], Double(writer.lost))] }
    if settings.log.level == .trace {
      dependencies.onStatement = { [logger] in logger.trace("SQL", metadata: ["statement": "\($0)"]) }
    }
  }

  /// Runs the services until SIGTERM or SIGINT.
  /// - Parameter build: creates the services. If it throws, the log is written nevertheless.
  func run(_ build: () throws -> [any Service]) async throws {
    defer { writer.flush(within: Self.flushLimit) }
    var configuration = ServiceGroupConfiguration(
      services: try build() + [ShutdownWatchdog(limit: Self.endLimit, writer: writer, logger: logger)],
      gracefulShutdownSignals: [.sigterm, .sigint],
      logger: logger)
    configuration.maximumGracefulShutdownDuration = Self.shutdownLimit
    try await ServiceGroup(configuration: configuration).run()
  }

  /// Ignores the signals that would end the process by default although the service can go on.
  private static func ignoreSignals(dev: Bool) {
    // The reader of the log may close the pipe.
    signal(SIGPIPE, SIG_IGN)
    // The template reloader handles it later. In development mode, closing the terminal ends the service.
    if !dev { signal(SIGHUP, SIG_IGN) }
  }

  private static func warn(of findings: [Finding], _ logger: Logger) {
    for finding in findings {
      logger.warning("\(finding.message)", metadata: ["id": "\(finding.id)"].merging(finding.hint.map { ["hint": "\($0)"] } ?? [:]) { $1 })
    }
  }

  /// Returns how many connections match the number of files that the process may open.
  private static func maxConnections() throws -> Int {
    DescriptorLimit.raise()
    guard let connections = ConnectionCount.limit(forDescriptors: DescriptorLimit.current) else {
      throw CommandError(message: DescriptorLimit.message, code: CommandError.configuration)
    }
    return connections
  }
}
