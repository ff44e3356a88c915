import Foundation
import Synchronization

/// A folder that a test's commands run in.
final class Folder: Sendable {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("command-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func run(_ arguments: [String], _ environment: [String: String] = [:], input: String = "") async throws -> (
    status: Int32, output: String, errors: String
  ) {
    let command = try RunningCommand(arguments, environment, in: path, input: input)
    let status = await command.exited()
    return (status, try command.text("out"), try command.text("err"))
  }

  /// All that the file backend wrote.
  func mails() throws -> String {
    let folder = path + "/mails"
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return try files.map { try String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8) }.joined()
  }
}

/// A process of ours; its output goes to files, so that nobody waits for a reader.
final class RunningCommand: Sendable {
  private static let starting = Mutex(())

  private let process: Process
  private let files: String
  private let status: AsyncStream<Int32>

  init(_ arguments: [String], _ environment: [String: String], in folder: String, input: String = "", pipe: Pipe? = nil) throws {
    files = FileManager.default.temporaryDirectory.appendingPathComponent("run-\(UUID().uuidString)").path
    let process = Process()
    process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("password-reset")
    process.arguments = arguments
    process.environment = environment
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    for (name, text) in [("in", input), ("out", ""), ("err", "")] { try text.write(toFile: "\(files).\(name)", atomically: false, encoding: .utf8) }
    if let pipe { process.standardInput = pipe } else { process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: files + ".in")) }
    process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: files + ".out"))
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: files + ".err"))
    let (status, continuation) = AsyncStream.makeStream(of: Int32.self)
    process.terminationHandler = { continuation.yield($0.terminationStatus) }
    // Foundation has been seen to crash when many are started at once.
    try Self.starting.withLock { _ in try process.run() }
    self.process = process
    self.status = status
  }

  deinit {
    if process.isRunning { kill() }
    for name in ["in", "out", "err"] { try? FileManager.default.removeItem(atPath: "\(files).\(name)") }
  }

  func text(_ stream: String) throws -> String { try String(contentsOfFile: "\(files).\(stream)", encoding: .utf8) }

  @discardableResult func exited() async -> Int32 { await status.first { _ in true } ?? -1 }

  func terminate() { process.terminate() }

  func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }
}

extension Pipe {
  /// Whether all that was written has been read.
  var isDrained: Bool {
    var count: Int32 = 0
    return ioctl(fileHandleForWriting.fileDescriptor, UInt(FIONREAD), &count) == 0 && count == 0
  }
}
