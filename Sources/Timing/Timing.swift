import Foundation

/// Whether the time of a reply tells an account from none: each comparison is made on the service itself, and again where one side is known to take
/// two microseconds longer, which must show.
///
/// Exits 0 if no difference was found, 1 if there is one, 2 if that cannot be told.
@main
struct Timing {
  private static let usualPairs = 10_000

  private let workplace: Workplace
  private let pairs: Int
  private let seed: UInt64
  private let secretKey = Data((0..<48).map { _ in UInt8.random(in: .min ... .max) }).base64EncodedString()
  private let progress = Progress()

  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      if arguments.first == "server" {
        return try await ControlServer.run(Array(arguments.dropFirst()), secretKey: ProcessInfo.processInfo.environment["SECRET_KEY"] ?? "")
      }
      let workplace = try Workplace()
      let code: Int32
      do {
        defer { workplace.clearUp() }
        code = try await Timing(arguments, in: workplace).run()
      }
      exit(code)
    } catch {
      FileHandle.standardError.write(Data("\(error)\n".utf8))
      exit(2)
    }
  }

  /// - Parameter arguments: the least number of pairs, and the seed of all that is random, if any.
  private init(_ arguments: [String], in workplace: Workplace) throws {
    let numbers = arguments.compactMap { UInt64($0) }
    guard arguments.count <= 2, numbers.count == arguments.count, let pairs = Int(exactly: numbers.first ?? UInt64(Self.usualPairs)),
      (100...20_000).contains(pairs)
    else { throw Failure(description: "usage: Timing [PAIRS, from 100 to 20000 [SEED]]") }
    self.workplace = workplace
    self.pairs = pairs
    seed = numbers.count == 2 ? numbers[1] : .random(in: 0...UInt64(UInt32.max))
  }

  private func run() async throws -> Int32 {
    printPreface()
    Table.printHead()
    var verdicts: [Finding.Verdict] = []
    for index in Comparison.all.indices { verdicts.append(try await compare(index)) }
    try await lookAfterwards()
    return verdicts.contains(.difference) ? 1 : verdicts.contains(.inconclusive) ? 2 : 0
  }

  private func printPreface() {
    var loads = [0.0]
    getloadavg(&loads, 1)
    Table.printLine(
      """
      \(Progress.cores) cores, shared with the service; load before \(String(format: "%.2f", loads[0])); CLOCK_MONOTONIC; \
      seed \(seed); database and log in \(workplace.path)
      Times of replies, one connection at a time, second minus first. What is compared is `password-reset serve`, its worker's hands full by
      EMAIL_RATE_LIMIT; the control is a server of the same parts whose second side takes 2 µs longer on purpose.

      """)
  }

  private func compare(_ index: Int) async throws -> Finding.Verdict {
    let comparison = Comparison.all[index]
    let database = "\(workplace.path)/\(index).sqlite3"
    // It may lie in memory. What does not go now goes with the folder.
    defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: database + suffix) } }
    let names = Series.names(for: pairs)
    try await Database.make(at: database, for: comparison, count: Rehearsal.count + 2 * names)
    try await with(Server.startService(on: database, secretKey: secretKey, isHeld: false, in: workplace)) {
      try await Rehearsal(on: $0).run(comparison)
    }

    let series = Series(comparison: comparison, pairs: pairs, seed: seed)
    let finding = try await with(Server.startService(on: database, secretKey: secretKey, isHeld: true, in: workplace)) {
      try series.run(on: $0, from: Rehearsal.count, progress: progress)
    }
    let arguments = ControlServer.arguments(database: database, comparison: index)
    let control = try await with(Server.start("Timing", arguments, environment: ["SECRET_KEY": secretKey], in: workplace)) {
      try series.run(on: $0, from: Rehearsal.count + names, progress: progress)
    }
    let verdict = finding.verdict(besides: control)
    let caught = "\(Table.text(control.interval)), \(control.verdict == .difference ? "caught" : "not caught") (\(control.pairs) pairs)"
    progress.clear()
    Table.printFinding(comparison.name, finding, verdict: verdict.rawValue, last: caught)
    return verdict
  }

  /// For information only: it decides nothing.
  private func lookAfterwards() async throws {
    let comparison = Comparison.all[0]
    let database = "\(workplace.path)/afterwards.sqlite3"
    try await Database.make(at: database, for: comparison, count: Rehearsal.count + Afterwards.pairs)
    let (reply, afterwards, probes) = try await with(
      Server.startService(on: database, secretKey: secretKey, isHeld: false, in: workplace)
    ) { server in
      try await Rehearsal(on: server).run(comparison)
      return try Afterwards(comparison: comparison, seed: seed).run(on: server, from: Rehearsal.count, progress: progress)
    }
    progress.clear()
    Table.printFinding("the same, worker at work", reply, verdict: reply.verdict.rawValue, last: "for information")
    Table.printFinding("afterwards", afterwards, verdict: afterwards.verdict.rawValue, last: "for information")
    Table.printLine(
      """

      The last two rows decide nothing. "worker at work" is the first comparison with nothing held, each request to a service that has nothing else to
      do. "afterwards" is the sum of the times of \(probes) GET /health/live in the 40 ms after that reply, when the worker looks the address up and
      writes the mail, if there is to be one: a difference there is that work, noticed by a client that has the service to itself. It is no part of
      the reply, and among the requests of others it is lost.
      """)
  }

  /// Runs `work` and stops the server, however it ends.
  private func with<Result>(_ server: Server, _ work: (Server) async throws -> Result) async throws -> Result {
    defer { server.stop() }
    return try await work(server)
  }
}
