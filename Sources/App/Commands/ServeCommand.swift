import ArgumentParser
import Credentials
import Foundation
import ConnectionGuards
import Hummingbird
import Logging
import NIOCore
import PasswordReset
import Prometheus
import SQLiteStore
import ServiceLifecycle
import UnixSignals

struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Run the service until it is told to stop.",
    discussion: """
      Brings the database's schema up to date, listens on HTTP_HOST and HTTP_PORT, and sends the mails that are owed; metrics and health are on
      ADMIN_HOST and ADMIN_PORT. On SIGTERM or SIGINT it takes no new requests, finishes what is under way, and exits 0. On SIGHUP it reads the
      mail templates anew.
      """
  )

  /// From when on what is under way is cancelled: under the ten seconds after which container runtimes kill.
  private static let shutdownLimit = Duration.seconds(7)
  /// From when on nothing is waited for.
  private static let endLimit = Duration.seconds(8)
  /// For what was logged last; a reader that stalls must not hold up the end.
  private static let flushLimit = Duration.milliseconds(500)

  @Flag(help: "For a try: keeps a secret key of its own, prints mails instead of sending them, adds a demo user to an empty database.")
  var dev = false

  func run() async throws {
    try await CommandError.report {
      let start = Date()
      ignoreSignals()
      let settings = try Settings(environment: ProcessInfo.processInfo.environment, dev: dev)
      if dev { try await DemoUser.add(to: settings) }
      let writer = LogWriter(settings.log)
      defer { writer.flush(within: Self.flushLimit) }
      let logger = Logger(settings.log, writer: writer)
      // Nobody who tries it wants to hear that it is a try.
      if !dev { warn(of: Checks.ofSettings(settings), logger) }
      var dependencies = ApplicationDependencies()
      dependencies.maxConnections = try maxConnections()
      dependencies.reloadsOnHangup = !dev
      ProcessMetrics.add(to: dependencies.registry, start: start)
      dependencies.registry.gauge("password_reset_log_lines_lost_total", "Log lines lost because their reader stalled.", labels: [], kind: .counter) {
        [([], Double(writer.lost))]
      }
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

/// Ends the process when a stop takes too long: what was accepted is on disk, and what was in hand is due again when its lease runs out.
private final class ShutdownWatchdog: Service {
  private let limit: Duration
  private let writer: LogWriter
  private let logger: Logger

  init(limit: Duration, writer: LogWriter, logger: Logger) {
    (self.limit, self.writer, self.logger) = (limit, writer, logger)
  }

  func run() async {
    // It returns when the stop begins; cancelled, there is nothing to watch over.
    guard (try? await gracefulShutdown()) != nil else { return }
    // Not a task: whatever holds up the tasks must not hold up this.
    Thread.detachNewThread { [self] in
      Thread.sleep(forTimeInterval: limit / .seconds(1))
      logger.error("The stop took too long; the service ends without what was under way")
      writer.flush(within: .milliseconds(300))
      // At once: what other threads still use must not be torn down under them.
      _exit(0)
    }
  }
}

extension ServeCommand {
  /// What would end the process for no reason of ours.
  private func ignoreSignals() {
    // Whoever reads the log may go away.
    signal(SIGPIPE, SIG_IGN)
    // Until the reloader listens. One who tries it closes the terminal and means it.
    if !dev { signal(SIGHUP, SIG_IGN) }
  }

  private func warn(of findings: [Finding], _ logger: Logger) {
    for finding in findings {
      logger.warning("\(finding.message)", metadata: ["id": "\(finding.id)"].merging(finding.hint.map { ["hint": "\($0)"] } ?? [:]) { $1 })
    }
  }
}

/// Raises the limit of open files as far as allowed, and returns how many connections fit into it.
private func maxConnections() throws -> Int {
  var limit = rlimit()
  getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  limit.rlim_cur = limit.rlim_max
  setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  guard let connections = ConnectionCount.limit(forDescriptors: ProcessMetrics.descriptorLimit()) else {
    throw CommandError(
      message:
        "only \(ProcessMetrics.descriptorLimit()) files may be open at once, which is too few; raise the limit (ulimit -n, or LimitNOFILE= of systemd) to 1024",
      code: CommandError.configuration)
  }
  return connections
}

extension CommandError {
  /// Runs what listens on an address, and says which settings to change if it cannot.
  static func ofListening(host: String, port: Int, names: String, _ work: () async throws -> Void) async throws {
    // A supervisor may try again: the port may be free, or the host be known, a moment later.
    func failure(_ reason: String) -> CommandError { CommandError(message: "cannot listen on \(host):\(port): \(reason); free it, or set \(names)") }
    do {
      try await work()
    } catch let error as IOError {
      throw failure(String(cString: strerror(error.errnoCode)))
    } catch is SocketAddressError.UnknownHost {
      throw failure("there is no such host")
    }
  }
}

/// The user that `serve --dev` adds to an empty database, so that a newcomer has somebody to try the flow on.
private enum DemoUser {
  private static let username = "demo"
  private static let email = "demo@example.com"

  static func add(to settings: Settings) async throws {
    let store = try SQLiteStore(path: settings.database.path)
    try store.migrate()
    guard try await !store.hasUsers() else { return }
    // A password that nobody knows, made at little cost: it is there to be reset.
    let password = try PBKDF2PasswordHasher(iterations: 1).encode(UnusablePassword.make())
    _ = try await store.addUser(username: username, email: email, password: password, at: Date())
  }

  static func welcome(_ settings: Settings, port: Int) -> String {
    """

    password-reset is ready, for development. Ask for a reset in another terminal; \(settings.mail.backend == .memory ? "read the mail over HTTP:" : "the mail appears here:")

      curl -i http://\(settings.http.host):\(port)/password-reset --json '{"email": "\(email)"}'

    """
  }
}
