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

/// The whole service as `serve` builds it, on a new database file; only time, mail and hashing cost are the test's.
final class Harness: Sendable {
  static let secretKey = "django-insecure-test-key-0123456789"
  static let oldPassword = "old-Password-1"

  let path: String
  let clock = TestClock()
  let mails = FlakyBackend()
  let statements = Recorder()
  let log = Recorder()
  /// Cheap: the cost is not what is tested.
  let hasher = PBKDF2PasswordHasher(iterations: 10)

  init() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("password-reset-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    path = folder.appendingPathComponent("test.sqlite3").path
  }

  deinit { try? FileManager.default.removeItem(atPath: (path as NSString).deletingLastPathComponent) }

  /// Runs `test` against the service, and its worker.
  /// - Parameters:
  ///   - hasher: in the place of the harness's cheap one; `.some(nil)` for the configured one.
  ///   - framework: `.live` for real sockets.
  func run(
    _ environment: [String: String] = [:], policy: OutboxPolicy = .quick, hasher: (any PasswordHasher)?? = nil, logLevel: Logger.Level = .trace,
    over framework: TestingSetup = .router, _ test: @Sendable (any TestClientProtocol) async throws -> Void
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
    dependencies.hasher = hasher ?? self.hasher
    dependencies.outboxPolicy = policy
    dependencies.onStatement = { [statements] in statements.add($0) }
    let logger = Logger(label: "test") { [log] _ in RecordingLogHandler(recorder: log, logLevel: logLevel) }
    let application = try buildApplication(settings, dependencies: dependencies, logger: logger)
    try await application.test(framework) { client in try await test(client) }
    expectNoSecrets()
  }

  /// Whatever a test did, at whatever level: no key, token or address is in the log.
  private func expectNoSecrets() {
    for line in log.lines {
      let leaked =
        line.contains(Self.secretKey) || line.contains(Self.oldPassword) || line.firstMatch(of: /@example\.|[0-9a-z]{1,13}-[0-9a-f]{32}/) != nil
      #expect(!leaked, "logged: \(line)")
    }
  }

  /// Adds a user; the database must be migrated, so inside ``run(_:policy:logLevel:_:)``.
  @discardableResult
  func addUser(_ username: String = "alice", email: String = "alice@example.com", password: String? = Harness.oldPassword) async throws -> UserID {
    let encoded = try password.map(hasher.encode) ?? UnusablePassword.make()
    let store = try SQLiteStore(path: path)
    return try #require(await store.addUser(username: username, email: email, password: encoded, at: Date()))
  }

  /// Reads or changes the database behind the service's back.
  func sql<Value: Sendable>(_ work: @Sendable (Database) throws -> Value) throws -> Value {
    var configuration = Configuration()
    configuration.busyMode = .timeout(5)
    return try DatabaseQueue(path: path, configuration: configuration).write(work)
  }

  func execute(_ statement: String, _ arguments: StatementArguments = []) throws {
    try sql { db in try db.execute(sql: statement, arguments: arguments) }
  }

  func count(_ query: String) throws -> Int { try sql { db in try Int.fetchOne(db, sql: query) ?? 0 } }

  func password(of id: UserID) throws -> String {
    try #require(try sql { db in try String.fetchOne(db, sql: "SELECT password FROM auth_user WHERE id = ?", arguments: [id.text]) })
  }

  /// The path of the newest link mailed to `address`, once there are `count` mails to it.
  func link(to address: String = "alice@example.com", count: Int = 1) async throws -> String {
    try await eventually("a mail to \(address)") { mails.sent.filter { $0.recipient == address && $0.resetURL != nil }.count >= count }
    let mail = try #require(mails.sent.last { $0.recipient == address && $0.resetURL != nil })
    let match = try #require(mail.body.firstMatch(of: /https:\/\/example\.com\/reset(\/\S+)/))
    #expect(mail.resetURL == String(match.0))
    return "/password-reset\(match.1)"
  }

  /// Keeps every other writer waiting, as a slow transaction of the Django site would.
  func lockDatabase(for duration: Duration, _ meanwhile: @Sendable () async throws -> Void) async throws {
    var configuration = Configuration()
    configuration.allowsUnsafeTransactions = true
    configuration.busyMode = .timeout(5)
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try await queue.writeWithoutTransaction { db in try db.execute(sql: "BEGIN IMMEDIATE") }
    try await meanwhile()
    try await Task.sleep(for: duration)
    try await queue.writeWithoutTransaction { db in try db.execute(sql: "ROLLBACK") }
  }

  /// Until the worker has nothing left to do.
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
  /// Leaves everything in the outbox.
  static var asleep: OutboxPolicy {
    var policy = OutboxPolicy()
    policy.maxClaimed = 0
    return policy
  }

  /// A lease that is often renewed, so that a test need not wait.
  static var oneAfterTheOther: OutboxPolicy {
    var policy = OutboxPolicy.quick
    policy.lease = 0.3
    return policy
  }

  /// Retries at once, so that a test need not wait.
  static var quick: OutboxPolicy {
    var policy = OutboxPolicy()
    policy.initialBackoff = 0.01
    policy.maxBackoff = 0.05
    policy.maxProbeInterval = 0.05
    policy.pollInterval = 0.05
    return policy
  }
}

/// Waits for a condition. The limit is there to end a wait that is in vain: what takes a second alone may take half a minute beside all other
/// tests on a busy machine.
func eventually(_ what: String, _ condition: () throws -> Bool) async throws {
  let deadline = ContinuousClock.now + .seconds(90)
  while try !condition() {
    try #require(ContinuousClock.now < deadline, "waited in vain for \(what)")
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// The real time, moved as the test wants.
final class TestClock: Sendable {
  private let offset = Mutex<TimeInterval>(0)
  private let frozen = Mutex<Date?>(nil)

  var now: Date { frozen.withLock { $0 } ?? Date().addingTimeInterval(offset.withLock { $0 }) }

  func advance(by seconds: TimeInterval) { offset.withLock { $0 += seconds } }

  func freeze(at date: Date) { frozen.withLock { $0 = date } }
}

/// Keeps mails, or fails as told.
final class FlakyBackend: MailBackend {
  private let kept = MemoryBackend()
  private let failure = Mutex<@Sendable (EmailMessage) -> MailError?>({ _ in nil })
  private let pause = Mutex<@Sendable () async -> Void>({})
  private let attempts = Mutex(0)

  var sent: [EmailMessage] { kept.messages }
  var tried: Int { attempts.withLock { $0 } }

  func fail(_ failure: @escaping @Sendable (EmailMessage) -> MailError?) { self.failure.withLock { $0 = failure } }

  /// What each mail does on its way.
  func hold(_ pause: @escaping @Sendable () async -> Void) { self.pause.withLock { $0 = pause } }

  func send(_ message: EmailMessage) async throws(MailError) {
    attempts.withLock { $0 += 1 }
    await pause.withLock { $0 }()
    if let error = failure.withLock({ $0 })(message) { throw error }
    try await kept.send(message)
  }
}

/// Lines, in the order in which they came.
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

/// A reply, easy to look into.
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

  /// `new_password2: password_too_short, …` for each field with errors, sorted.
  var fieldCodes: [String: [String]] {
    let errors = (try? json["errors"] as? [String: [[String: Any]]]) ?? [:]
    return errors.mapValues { $0.compactMap { $0["code"] as? String } }
  }

  /// All that could tell two replies apart, but for what differs by design.
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
