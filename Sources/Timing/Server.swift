import Foundation
import PasswordReset

/// A server process of ours, and the port that it says it listens on.
struct Server {
  let port: Int
  private let process: Process
  private let log: FileHandle
  private let logPath: String
  private let workplace: Workplace

  /// - Parameter name: a program beside this one.
  static func start(_ name: String, _ arguments: [String], environment: [String: String], in workplace: Workplace) async throws -> Server {
    let logPath = "\(workplace.path)/log"
    try Data().write(to: URL(fileURLWithPath: logPath))
    let log = try FileHandle(forWritingTo: URL(fileURLWithPath: logPath))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent(name)
    process.arguments = arguments
    process.environment = environment
    process.standardOutput = log
    process.standardError = log
    try process.run()
    workplace.adopt(process.processIdentifier)
    let deadline = ContinuousClock.now + .seconds(10)
    while ContinuousClock.now < deadline, process.isRunning {
      if let match = try String(contentsOfFile: logPath, encoding: .utf8).firstMatch(of: /listening on 127\.0\.0\.1:(\d+)/), let port = Int(match.1) {
        return Server(port: port, process: process, log: log, logPath: logPath, workplace: workplace)
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    process.terminate()
    throw Failure(description: "\(name) does not listen; it says: \(try String(contentsOfFile: logPath, encoding: .utf8))")
  }

  /// The service as it is, on `database`, without limits for its one client.
  ///
  /// - Parameter isHeld: whether the worker is to leave be what is new. With one mail an hour the mails of the first requests wait, and while half as
  ///   many wait as the worker takes in hand it does not look for more. At work it commits beside each request, and writes mails on the same cores:
  ///   with two cores that is ten times the noise, a hundred times the pairs, and, due at random after the reply, no part of what is timed.
  static func startService(on database: String, secretKey: String, isHeld: Bool, in workplace: Workplace) async throws -> Server {
    try await start(
      "password-reset", ["serve"],
      environment: [
        // An address of its own: by it the log tells the admin listener from the public one.
        "ADMIN_HOST": "127.0.0.2", "ADMIN_PORT": "0",
        "HTTP_PORT": "0", "SECRET_KEY": secretKey, "DATABASE_URL": "sqlite:\(database)", "EMAIL_BACKEND": "dummy", "LOG_FORMAT": "json",
        "EMAIL_RATE_LIMIT": isHeld ? "1/h" : "off", "RATE_LIMIT_MAILS": "1/h", "RATE_LIMIT_REQUESTS": "off", "RATE_LIMIT_LINKS": "off",
      ], in: workplace)
  }

  /// How many requests have come to that end, by the log, which must not have been emptied.
  func count(of event: AuditEvent) throws -> Int {
    try String(contentsOfFile: logPath, encoding: .utf8).components(separatedBy: #""event":"\#(event.rawValue)""#).count - 1
  }

  /// Empties the log, which may lie in memory. The server goes on at its beginning, as it shares this handle's place in the file.
  func emptyLog() throws { try log.truncate(atOffset: 0) }

  func stop() {
    process.terminate()
    process.waitUntilExit()
    workplace.release(process.processIdentifier)
  }
}
