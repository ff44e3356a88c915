import Credentials
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import Mail
import PasswordReset
import SQLiteStore
import Synchronization
import Testing

@testable import App

/// The whole service as `serve` builds it, on a new database file. Only the clock, the mail backend and the cost of
/// hashing are replaced.
final class Harness: Sendable {
  static let secretKey = "django-insecure-test-key-0123456789"
  static let oldPassword = "old-Password-1"

  let path: String
  let clock = TestClock()
  let mails = FlakyBackend()
  let statements = Recorder()
  let log = Recorder()
  /// A cheap hasher, because tests do not depend on the cost.
  let hasher = PBKDF2PasswordHasher(iterations: 10)

  init() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("password-reset-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = folder.appendingPathComponent("test.sqlite3").path
  }

  deinit { try? FileManager.default.removeItem(atPath: (path as NSString).deletingLastPathComponent) }

  /// Runs `test` against the service and its worker.
  /// - Parameters:
  ///   - hasher: replaces the harness's cheap hasher; `.some(nil)` selects the configured one.
  ///   - receiver: replaces the client for the receiver of webhooks.
  ///   - role: `.web` runs no worker.
  ///   - framework: `.live` uses real sockets.
  func run(
    _ environment: [String: String] = [:], policy: OutboxPolicy = .quick, hasher: (any PasswordHasher)?? = nil, logLevel: Logger.Level = .trace,
    receiver: FlakyReceiver? = nil, role: ProcessRole = .complete, over framework: TestingSetup = .router,
    _ test: @Sendable (any TestClientProtocol) async throws -> Void
  ) async throws {
    let defaults = [
      "DATABASE_URL": "sqlite:\(path)", "SECRET_KEY": Self.secretKey, "EMAIL_BACKEND": "memory", "SITE_NAME": "Example",
      "RESET_URL": "https://example.com/reset/{uid}/{token}",
      "RATE_LIMIT_REQUESTS": "off", "RATE_LIMIT_LINKS": "off", "RATE_LIMIT_MAILS": "off", "ADMIN_PORT": "0",
    ]
    let settings = try Settings(environment: defaults.merging(environment) { _, new in new })
    var dependencies = ApplicationDependencies()
    dependencies.now = { [clock] in clock.now }
    dependencies.mailBackend = mails
    dependencies.webhookBackend = receiver
    dependencies.hasher = hasher ?? self.hasher
    dependencies.outboxPolicy = policy
    dependencies.onStatement = { [statements] in statements.add($0) }
    let logger = Logger(label: "test") { [log] _ in RecordingLogHandler(recorder: log, logLevel: logLevel) }
    let application = try buildApplication(settings, role: role, dependencies: dependencies, logger: logger)
    try await application.test(framework) { client in try await test(client) }
    expectNoSecrets()
  }

  /// Checks that the log contains no key, token or address, at any level.
  private func expectNoSecrets() {
    for line in log.lines {
      let leaked =
        line.contains(Self.secretKey) || line.contains(Self.oldPassword) || line.firstMatch(of: /@example\.|[0-9a-z]{1,13}-[0-9a-f]{32}/) != nil
      #expect(!leaked, "logged: \(line)")
    }
  }

  /// Adds a user. Call it inside ``run(_:policy:logLevel:_:)``, because the database must be migrated.
  @discardableResult
  func addUser(_ username: String = "alice", email: String = "alice@example.com", password: String? = Harness.oldPassword) async throws -> UserID {
    let encoded = try password.map(hasher.encode) ?? UnusablePassword.make()
    let store = try SQLiteStore(path: path)
    return try #require(await store.addUser(username: username, email: email, password: encoded, at: Date()))
  }

  /// Opens the database as another process would: the queue waits while the service writes.
  func openQueue() throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    configuration.busyMode = .timeout(30)
    return try DatabaseQueue(path: path, configuration: configuration)
  }

  /// Reads or changes the database directly, as another process would.
  func sql<Value: Sendable>(_ work: @Sendable (Database) throws -> Value) throws -> Value { try openQueue().write(work) }

  func execute(_ statement: String, _ arguments: StatementArguments = []) throws {
    try sql { db in try db.execute(sql: statement, arguments: arguments) }
  }

  func count(_ query: String) throws -> Int { try sql { db in try Int.fetchOne(db, sql: query) ?? 0 } }

  func password(of id: UserID) throws -> String {
    try #require(try sql { db in try String.fetchOne(db, sql: "SELECT password FROM auth_user WHERE id = ?", arguments: [id.text]) })
  }

  /// Returns the path of the newest link emailed to `address`, once `count` emails were sent there.
  func link(to address: String = "alice@example.com", count: Int = 1) async throws -> String {
    try await eventually("an email to \(address)") { mails.sent.filter { $0.recipient == address && $0.resetURL != nil }.count >= count }
    let mail = try #require(mails.sent.last { $0.recipient == address && $0.resetURL != nil })
    let match = try #require(mail.body.firstMatch(of: /https:\/\/example\.com\/reset(\/\S+)/))
    #expect(mail.resetURL == String(match.0))
    return "/password-reset\(match.1)"
  }

  /// Makes every other writer wait while `meanwhile` runs, as a slow transaction of the Django site would.
  func lockDatabase(_ meanwhile: @Sendable () async throws -> Void) async throws {
    let queue = try openQueue()
    try await queue.writeWithoutTransaction { db in try db.execute(sql: "BEGIN IMMEDIATE") }
    try await meanwhile()
    try await queue.writeWithoutTransaction { db in try db.execute(sql: "ROLLBACK") }
  }

  /// Waits until the worker has no job left.
  func drained() async throws {
    try await eventually("an empty outbox") {
      try count("SELECT count(*) FROM password_reset_outbox WHERE dead_lettered_at IS NULL") == 0
    }
  }
}

extension UserID: ExpressibleByIntegerLiteral {
  public init(integerLiteral value: Int64) { self.init(value) }
}

extension OutboxPolicy {
  /// A policy whose worker claims no job.
  static var asleep: OutboxPolicy {
    var policy = OutboxPolicy()
    policy.maxClaimed = 0
    return policy
  }

  /// A policy whose leases are short, so that the worker extends them often and tests are quick.
  static var oneAfterTheOther: OutboxPolicy {
    var policy = OutboxPolicy.quick
    policy.lease = 0.3
    return policy
  }

  /// A policy whose worker retries almost at once, so that tests are quick.
  static var quick: OutboxPolicy {
    var policy = OutboxPolicy()
    policy.initialBackoff = 0.01
    policy.maxBackoff = 0.05
    policy.maxProbeInterval = 0.05
    policy.pollInterval = 0.05
    return policy
  }
}

/// Waits for a condition. The limit only ends a wait that is in vain: an operation that takes a second alone may take
/// half a minute while all other tests run on a busy machine.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
  let deadline = ContinuousClock.now + .seconds(90)
  while try await !condition() {
    try #require(ContinuousClock.now < deadline, "waited in vain for \(what)")
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// The real time, moved or stopped by a test.
final class TestClock: Sendable {
  private let offset = Mutex<TimeInterval>(0)
  private let frozen = Mutex<Date?>(nil)

  var now: Date { frozen.withLock { $0 } ?? Date().addingTimeInterval(offset.withLock { $0 }) }

  func advance(by seconds: TimeInterval) { offset.withLock { $0 += seconds } }

  func freeze(at date: Date) { frozen.withLock { $0 = date } }
}

/// Keeps emails, or fails as the test demands.
final class FlakyBackend: MailBackend {
  private let kept = MemoryBackend()
  private let failure = Mutex<@Sendable (EmailMessage) -> MailError?>({ _ in nil })
  private let pause = Mutex<@Sendable () async -> Void>({})
  private let attempts = Mutex(0)

  var sent: [EmailMessage] { kept.messages }
  var tried: Int { attempts.withLock { $0 } }

  func fail(_ failure: @escaping @Sendable (EmailMessage) -> MailError?) { self.failure.withLock { $0 = failure } }

  /// Sets a function that each email waits for before it is sent.
  func hold(_ pause: @escaping @Sendable () async -> Void) { self.pause.withLock { $0 = pause } }

  func send(_ message: EmailMessage) async throws(MailError) {
    attempts.withLock { $0 += 1 }
    await pause.withLock { $0 }()
    if let error = failure.withLock({ $0 })(message) { throw error }
    try await kept.send(message)
  }
}

/// Keeps lines in the order in which they arrived.
final class Recorder: Sendable {
  private let kept = Mutex<[String]>([])

  var lines: [String] { kept.withLock { $0 } }

  func add(_ line: String) { kept.withLock { $0.append(line) } }
}

struct RecordingLogHandler: LogHandler {
  let recorder: Recorder
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.MetadataValue? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    recorder.add("\(event.level) \(event.message) \(metadata.merging(event.metadata ?? [:]) { $1 }) \(event.error.map { "\($0)" } ?? "")")
  }
}

/// A response whose parts are easy to read.
struct Reply: Sendable {
  let status: Int
  let headers: HTTPFields
  let text: String

  init(_ response: TestResponse) {
    status = response.status.code
    headers = response.headers
    text = String(buffer: response.body)
  }

  var json: [String: Any] {
    get throws { try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]) }
  }

  var code: String? { try? json["code"] as? String }

  /// The codes of each field with errors, such as `new_password2: password_too_short, …`.
  var fieldCodes: [String: [String]] {
    let errors = (try? json["errors"] as? [String: [[String: Any]]]) ?? [:]
    return errors.mapValues { $0.compactMap { $0["code"] as? String } }
  }

  /// Everything that could distinguish two responses, except for values that differ by design.
  var fingerprint: String {
    let fields = headers.filter { !["date", "x-request-id"].contains($0.name.canonicalName) }.map { "\($0.name): \($0.value)" }.sorted()
    return "\(status)\n\(fields.joined(separator: "\n"))\n\n\(text.replacing(/"request_id":"[0-9a-f]{32}"/, with: ""))"
  }
}

extension HTTPField.Name {
  static let requestID = HTTPField.Name("X-Request-Id")!
  static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
}

extension TestClientProtocol {
  func send(
    _ method: HTTPRequest.Method, _ path: String, body: String? = nil, contentType: String? = "application/json", headers: HTTPFields = [:]
  ) async throws -> Reply {
    var headers = headers
    if body != nil { headers[.contentType] = contentType }
    return try await execute(uri: path, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) }) { Reply($0) }
  }

  func get(_ path: String) async throws -> Reply { try await send(.get, path) }

  func requestReset(email: String) async throws -> Reply { try await send(.post, "/password-reset", body: json(["email": email])) }

  func setPassword(_ link: String, _ password: String, _ confirmation: String? = nil) async throws -> Reply {
    try await send(.post, link, body: json(["new_password1": password, "new_password2": confirmation ?? password]))
  }

  private func json(_ value: [String: String]) throws -> String { String(decoding: try JSONEncoder().encode(value), as: UTF8.self) }
}
