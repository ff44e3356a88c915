import Credentials
import Foundation
import PasswordReset
import SQLiteStore

/// Measures the three operations of the release build through real sockets, beside bare Hummingbird routes of the same shape, in one run.
@main
struct Bench {
  private static let users = 2000
  private static let connections = 32
  private static let rounds = 3
  private static let seconds = 4

  static func main() async throws {
    switch CommandLine.arguments.dropFirst().first {
    case "bare": return try await runBareServer()
    case "hash": return try printHashTime(of: CommandLine.arguments.last ?? "")
    default: break
    }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("password-reset-bench-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    // A folder that stays behind spoils no figure.
    defer { try? FileManager.default.removeItem(atPath: folder) }

    let secretKey = Data((0..<48).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
    let database = "\(folder)/bench.sqlite3"
    let links = try await seed(database, secretKey: secretKey)
    let bare = try await Server.start("Bench", ["bare"], folder: folder)
    defer { bare.stop() }
    let service = try await Server.start(
      "password-reset", ["serve"],
      environment: [
        // An address of its own: by it the log tells the admin listener from the public one.
        "ADMIN_HOST": "127.0.0.2", "ADMIN_PORT": "0",
        "HTTP_PORT": "0", "SECRET_KEY": secretKey, "EMAIL_BACKEND": "dummy", "DATABASE_URL": "sqlite:\(database)", "RATE_LIMIT_MAILS": "off",
        "RATE_LIMIT_REQUESTS": "off", "RATE_LIMIT_LINKS": "off",
        "LOG_FORMAT": "json",
      ], folder: folder)
    defer { service.stop() }
    try await report(bare: bare, service: service, links: links, folder: folder)
  }

  /// Users with addresses `user<n>@example.com`, and a valid link for each.
  private static func seed(_ database: String, secretKey: String) async throws -> [String] {
    let store = try SQLiteStore(path: database)
    try store.migrate()
    let generator = PasswordResetTokenGenerator(secretKey: secretKey, timeout: 3600)
    let password = try PBKDF2PasswordHasher(iterations: 1).encode("unknown")
    var links: [String] = []
    for index in 0..<users {
      let email = "user\(index)@example.com"
      guard let id = try await store.addUser(username: "user\(index)", email: email, password: password, at: Date()) else { continue }
      let token = generator.makeToken(for: TokenSubject(id: id, password: password, lastLogin: nil, email: email), at: Date())
      links.append("/password-reset/\(UIDB64.encode(id))/\(token)")
    }
    return links
  }

  private static func report(bare: Server, service: Server, links: [String], folder: String) async throws {
    let hashTime = try hashTime()
    let wrk = Wrk(connections: connections, seconds: seconds, folder: folder)
    // The first half of the links is only checked, the second half is spent.
    let checked = Array(links.prefix(users / 2))
    let spent = Array(links.suffix(users / 2))
    let loads: [(name: String, server: Server, load: Wrk.Load)] = [
      ("bare GET", bare, .get(["/bare/MQ/d8ary8-578199d4e42f291f0f3bce532651119e"])),
      ("link check, valid", service, .get(checked)),
      ("link check, invalid", service, .get(["/password-reset/MQ/d8ary8-578199d4e42f291f0f3bce532651119e"])),
      ("bare POST", bare, .post("/bare", users: users)),
      ("reset request", service, .post("/password-reset", users: users)),
      ("set password", service, .confirm(spent)),
    ]
    var results = [[Wrk.Result]](repeating: [], count: loads.count)
    for round in 0..<rounds {
      for (index, load) in loads.enumerated() {
        results[index].append(try wrk.run(load.load, port: load.server.port, round: round))
        try await load.server.settle()
      }
    }
    let medians = results.map { $0.sorted { $0.rate < $1.rate }[rounds / 2] }
    print(
      "\(rounds) rounds of \(seconds) s each, \(connections) connections, medians; \(ProcessInfo.processInfo.activeProcessorCount) cores shared with wrk\n"
    )
    print("operation              requests/s    p99 ms   failed   of bare")
    for (index, load) in loads.enumerated() {
      let reference = medians[index < 3 ? 0 : 3]
      print(
        Self.pad(load.name, 22) + Self.pad(String(format: "%11.1f", medians[index].rate), 11) + String(format: "%10.2f", medians[index].p99)
          + String(format: "%9d", results[index].map(\.failed).reduce(0, +)) + String(format: "%10.3f", medians[index].rate / reference.rate))
    }
    // Setting a password is hashing: its bound is one hash's time on every core.
    let bound = Double(ProcessInfo.processInfo.activeProcessorCount) / hashTime
    let reached = medians[5].rate / bound
    print(String(format: "\none hash takes %.3f s; cores ÷ that = %.1f/s; set password reaches %.2f of it", hashTime, bound, reached))
  }

  /// One hash's time at Django's default cost, for the comparison in `Tests/Interop/benchmark_passwords.py`.
  private static func printHashTime(of algorithm: String) throws { print(try hashTime(PasswordHashers.make(algorithm))) }

  /// The median of five, in seconds.
  private static func hashTime(_ hasher: any PasswordHasher = PBKDF2PasswordHasher()) throws -> Double {
    let times = try (0..<5).map { _ in
      let start = ContinuousClock.now
      _ = try hasher.encode("a-Fine-pass-77")
      return (ContinuousClock.now - start) / .seconds(1)
    }
    return times.sorted()[2]
  }

  private static func pad(_ text: String, _ width: Int) -> String { text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0) }
}
