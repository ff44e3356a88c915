import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``UserStore`` and ``AuditStore`` about cancelled links.
public let cancellationPromises: [StorePromise] = [
  StorePromise("cancels the links of one user, with an audit record and jobs") { store in
    let (user, other) = (try await store.addUser("a"), try await store.addUser("b"))
    var cancellation = cancellation(of: user.id, time(100))
    (cancellation.clientKey, cancellation.jobs) = ("c1", [.request()])
    let jobs = try await store.cancelLinks(cancellation, at: start)
    #expect(jobs.map(\.kind) == [NewJob.request().kind])
    #expect(try await store.outboxRows(after: nil, limit: 10, deadLettersOnly: false).map(\.id) == jobs.map(\.id))
    let audit = try await store.auditRows(AuditFilter(), limit: 10)
    #expect(audit.map(\.event) == ["cancelled"] && audit.map(\.userID) == [user.id] && audit.map(\.clientKey) == ["c1"])
    #expect(audit.map(\.requestID) == ["r"] && audit.map(\.at) == [start])
    #expect(try await store.user(id: user.id)?.linksCancelledThrough == time(100))
    #expect(try await store.users(matching: .email(user.email)).map(\.linksCancelledThrough) == [time(100)])
    #expect(try await store.user(id: other.id) == other && other.linksCancelledThrough == nil)
  },
  StorePromise("keeps the latest of several cancellations, and moves on by a second for each one that is not later, up to a minute") { store in
    let user = try await store.addUser("a")
    let steps = [(100, 100), (101, 101), (101, 102), (101, 103), (50, 104), (200, 200), (200, 201), (140, 201), (202, 202), (300, 300)]
    for (seconds, expected) in steps + (1...80).map({ (300, min(300 + $0, 360)) }) {
      _ = try await store.cancelLinks(cancellation(of: user.id, time(seconds)), at: start)
      #expect(try await store.user(id: user.id)?.linksCancelledThrough == time(expected))
    }
  },
  StorePromise("sets no password by a cancelled link, even if the caller has read the user before") { store in
    let user = try await store.addUser("a")
    _ = try await store.cancelLinks(cancellation(of: user.id, time(100)), at: start)
    for seconds in [0, 99, 100] { #expect(try await store.setPassword(passwordChange(of: user, to: "y", link: time(seconds)), at: start) == nil) }
    #expect(try await store.auditRows(AuditFilter(), limit: 10).map(\.event) == ["cancelled"])
    #expect(try await store.setPassword(passwordChange(of: user, to: "y", link: time(101)), at: start) != nil)
    // Staff need no link.
    let changed = try #require(try await store.user(id: user.id))
    #expect(try await store.setPassword(passwordChange(of: changed, to: "z"), at: start) != nil)
  },
  StorePromise("sets no password after a cancellation was committed, however many of both race") { store in
    for round in 0..<30 {
      let user = try await store.addUser("a\(round)")
      let outcomes = try await withThrowingTaskGroup(of: Outcome.self) { group in
        for index in 0..<4 {
          group.addTask { .set(try await store.setPassword(passwordChange(of: user, to: "y\(index)", link: time(100)), at: start) != nil) }
          group.addTask {
            _ = try await store.cancelLinks(cancellation(of: user.id, time(100)), at: start)
            return .cancelled(password: try #require(try await store.user(id: user.id)).password)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      let final = try #require(try await store.user(id: user.id)).password
      #expect(outcomes.count { $0 == .set(true) } == (final == "x" ? 0 : 1))
      for case .cancelled(let password) in outcomes { #expect(password == final, "the password changed after the cancellation") }
    }
  },
  StorePromise("cancels the links of a user who does not exist any more, and deletes old cancellations a batch at a time") { store in
    let user = try await store.addUser("a")
    let unknown = user.id.integer.map { UserID($0 + 7) } ?? UserID("0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f")
    _ = try await store.cancelLinks(cancellation(of: unknown, time(50)), at: start)
    _ = try await store.cancelLinks(cancellation(of: user.id, time(100)), at: start)
    #expect(try await store.purgeCancellations(before: time(100), limit: 1) == 1)
    #expect(try await store.purgeCancellations(before: time(100), limit: 1) == 0)
    #expect(try await store.user(id: user.id)?.linksCancelledThrough == time(100))
    #expect(try await store.purgeCancellations(before: time(101), limit: 9) == 1)
    #expect(try await store.user(id: user.id) == user)
  },
]

private enum Outcome: Equatable, Sendable {
  case set(Bool)
  /// The user's password right after a cancellation.
  case cancelled(password: String)
}

private func time(_ seconds: Int) -> TokenTime { TokenTime(seconds: 800_000_000 + seconds) }

private func cancellation(of id: UserID, _ time: TokenTime) -> LinkCancellation { LinkCancellation(userID: id, through: time, requestID: "r") }
