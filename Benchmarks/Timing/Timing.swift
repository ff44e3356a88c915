import Foundation

/// Measures whether response times reveal which accounts exist.
///
/// Each comparison runs on the service, and again on a ``ControlServer`` with a known difference. The program writes the nanoseconds of all pairs
/// to CSV files, and `judge.py` tests whether the classes differ.
@main
struct Timing {
  private static let defaultPairs = 10_000

  private let directory: TemporaryDirectory
  private let output: String
  private let pairs: Int
  private let server: String?
  private let secretKey = Data((0..<48).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
  private let progress = Progress()

  /// Exits with 0 when everything was measured, otherwise with 2.
  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      if arguments.first == "--server" {
        return try await ControlServer.run(Array(arguments.dropFirst()), secretKey: ProcessInfo.processInfo.environment["SECRET_KEY"] ?? "")
      }
      let directory = try TemporaryDirectory()
      defer { directory.clearUp() }
      try await Timing(arguments, in: directory).run()
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(2)
    }
  }

  /// - Parameter arguments: the output folder, optionally the minimum number of pairs, and optionally the URL of a PostgreSQL server.
  private init(_ arguments: [String], in directory: TemporaryDirectory) throws {
    var arguments = arguments
    server = arguments.last?.hasPrefix("postgresql://") == true ? arguments.removeLast() : nil
    guard (1...2).contains(arguments.count), let pairs = arguments.count == 2 ? Int(arguments[1]) : Self.defaultPairs, (100...20_000).contains(pairs)
    else { throw TimingError(description: "usage: Timing FOLDER [PAIRS, from 100 to 20000] [postgresql://USER@HOST:PORT]") }
    self.directory = directory
    self.pairs = pairs
    output = arguments[0]
  }

  private func run() async throws {
    try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
    var loads = [0.0]
    getloadavg(&loads, 1)
    let load = String(format: "%.2f", loads[0])
    let place = server.map { "on \($0)" } ?? "in \(directory.path)"
    print("\(Progress.cores) cores, shared with the service; load average at the start \(load); databases \(place)")
    for index in Comparison.all.indices { try await measure(index) }
    try await measureAftermath()
    progress.clear()
  }

  private func measure(_ index: Int) async throws {
    let comparison = Comparison.all[index]
    let database = try TestDatabase("timing\(index)", on: server, in: directory)
    defer { database.remove() }
    let names = Measurement.names(for: pairs)
    try await TestUsers.add(to: database, for: comparison, count: WarmUp.count + 2 * names)
    try await with(startService(on: database, pausesWorker: false)) { try await WarmUp(on: $0).run(comparison) }

    let measurement = Measurement(comparison: comparison, pairs: pairs)
    try await with(startService(on: database, pausesWorker: true)) {
      try measurement.run(on: $0, from: WarmUp.count, progress: progress).write(to: "\(output)/\(comparison.name).service.csv")
    }
    let arguments = ControlServer.arguments(database, comparison: index)
    try await with(
      ServerProcess.start("Timing", arguments, environment: ["SECRET_KEY": secretKey, TestKey.variable: TestKey.current.rawValue], in: directory)
    ) {
      try measurement.run(on: $0, from: WarmUp.count + names, progress: progress).write(to: "\(output)/\(comparison.name).control.csv")
    }
  }

  /// Repeats the first comparison with a running worker, for information only.
  private func measureAftermath() async throws {
    let comparison = Comparison.all[0]
    let database = try TestDatabase("aftermath", on: server, in: directory)
    defer { database.remove() }
    try await TestUsers.add(to: database, for: comparison, count: WarmUp.count + AftermathMeasurement.pairs)
    try await with(startService(on: database, pausesWorker: false)) { server in
      try await WarmUp(on: server).run(comparison)
      let (responses, aftermath) = try AftermathMeasurement(comparison: comparison).run(on: server, from: WarmUp.count, progress: progress)
      try responses.write(to: "\(output)/running-worker.information.csv")
      try aftermath.write(to: "\(output)/aftermath.information.csv")
    }
  }

  private func startService(on database: TestDatabase, pausesWorker: Bool) async throws -> ServerProcess {
    try await .startService(on: database, secretKey: secretKey, pausesWorker: pausesWorker, in: directory)
  }

  /// Runs `work` and then stops the server, even after an error.
  private func with(_ server: ServerProcess, _ work: (ServerProcess) async throws -> Void) async throws {
    defer { server.stop() }
    try await work(server)
  }
}
