import Foundation
import PasswordReset
import Synchronization
import Testing

@testable import App

/// A way in which operations of a database fail.
protocol FaultKind: Sendable, CustomStringConvertible {
  /// Whether all later operations fail as well, until the database is repaired.
  var lasts: Bool { get }
}

/// A database whose operations fail as a test demands, and a harness for the service on it.
protocol FaultyDatabase: Sendable {
  var harness: Harness { get }
  /// The settings with which the service uses the database.
  var settings: [String: String] { get }
  /// What the names of our tables begin with.
  var tables: String { get }
  /// The operation that failed first since ``fail(at:)``, or `nil` if none did.
  var failure: String? { get }

  /// Lets an operation fail, counted from now and from 1.
  func fail(at point: Int)
  /// Lets all operations succeed.
  func repair()
  /// Waits until nothing has the database open, so that all that the service wrote is decided.
  func closed() async throws
  /// Returns the rows of a query, with `|` between the values. Such a query is not counted, and does not fail.
  func text(_ query: String) throws -> String
  func expectIntact(_ comment: Comment) throws
}

/// Lets the first operation of a flow fail, then the second, and so on until the flow ends before the fault.
enum FaultPoints {
  /// `FAULTS=all` tries every point of every fault. Otherwise the tests take seconds, and try every n-th point of some of the faults.
  static let areAllTried = ProcessInfo.processInfo.environment["FAULTS"] == "all"
  /// The processes that meet a fault: one that only answers requests, and one that also does the jobs.
  static let roles: [ProcessRole] = [.web, .complete]
  /// How many points are tried at the same time. Most of the time of each is spent waiting.
  private static let width = areAllTried ? 4 : 2

  /// - Parameters:
  ///   - every: the distance of the points that are tried unless all are.
  ///   - attempt: runs the flow with a fault at a point, checks what became of it, and returns whether the fault was reached, with the answer.
  static func exhaust(_ flow: String, every: Int, _ attempt: @escaping @Sendable (Int) async throws -> (isReached: Bool, answer: String)) async throws
  {
    let distance = areAllTried ? 1 : every
    var answers: [String: Int] = [:]
    var next = 1
    var isEnd = false
    while !isEnd {
      let points = stride(from: next, to: next + width * distance, by: distance)
      try await withThrowingTaskGroup { group in
        for point in points { group.addTask { try await attempt(point) } }
        for try await (isReached, answer) in group {
          if isReached { answers[answer, default: 0] += 1 } else { isEnd = true }
        }
      }
      next += width * distance
      try #require(next < 10_000, "the flow \(flow) does not end")
    }
    let count = answers.values.reduce(0, +)
    #expect(count > 0, "the flow \(flow) met no fault")
    print("\(flow): \(count) points,", answers.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: ", "))
  }
}

extension OutboxPolicy {
  /// A policy whose worker recovers from a fault within seconds, and claims seldom enough that new jobs are passed in memory.
  static var recovering: OutboxPolicy {
    var policy = OutboxPolicy.quick
    policy.lease = 1.5
    policy.pollInterval = 0.5
    return policy
  }
}
