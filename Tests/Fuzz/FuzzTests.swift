import Foundation
import Testing

/// Replays the corpora and random changes of them. `make fuzz` looks for new input with libFuzzer.
@Suite struct `A parser of hostile input` {
  /// They take some seconds. `FUZZ_RUNS` sets another number.
  private static let runs = ProcessInfo.processInfo.environment["FUZZ_RUNS"].flatMap(Int.init) ?? 500

  @Test(arguments: FuzzTarget.all) func `keeps its promises`(_ target: FuzzTarget) async throws {
    let corpus = try Self.corpus(of: target.name)
    for (name, bytes) in corpus { check(target, bytes, "\(target)/\(name)") }
    var mutator = Mutator(corpus: corpus.map(\.bytes))
    for run in 0..<Self.runs {
      check(target, mutator.next(), "\(target), run \(run)")
      // Other tests need this thread as well.
      await Task.yield()
    }
  }

  private func check(_ target: FuzzTarget, _ bytes: [UInt8], _ origin: String) {
    do { try target.run(bytes) } catch { Issue.record("\(origin): \(error). The input in Base64: \(Data(bytes).base64EncodedString())") }
  }

  private static func corpus(of target: String) throws -> [(name: String, bytes: [UInt8])] {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("corpus/\(target)")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    try #require(!names.isEmpty)
    return try names.map { ($0, Array(try Data(contentsOf: folder.appendingPathComponent($0)))) }
  }
}

/// Changes inputs at random, the same ones in each run.
private struct Mutator {
  let corpus: [[UInt8]]
  /// The state of a linear congruential generator (Knuth's MMIX), whose high bits are used.
  private var state: UInt64 = 1

  init(corpus: [[UInt8]]) { self.corpus = corpus }

  private mutating func number(below limit: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % limit
  }

  mutating func next() -> [UInt8] {
    var bytes = corpus[number(below: corpus.count)]
    for _ in 0...number(below: 4) { change(&bytes) }
    return bytes
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    let place = number(below: bytes.count + 1)
    let end = min(bytes.count, place + number(below: 9))
    let kind = number(below: 5)
    switch kind {
    case 0: bytes.insert(UInt8(number(below: 256)), at: place)
    case 1: bytes.removeSubrange(place..<end)
    case 2: bytes.insert(contentsOf: bytes[place..<end], at: place)
    case 3:
      let other = corpus[number(below: corpus.count)]
      bytes.replaceSubrange(place..<end, with: other.dropFirst(number(below: other.count + 1)).prefix(16))
    default: if place < bytes.count { bytes[place] ^= 1 << UInt8(number(below: 8)) }
    }
  }
}
