import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``UserStore``.
public let userStorePromises: [StorePromise] = [
  StorePromise("finds an address in any case, the lowest key first, and a user name only as it is") { store in
    let first = try await store.addUser("b", email: "Shared@example.com")
    let second = try await store.addUser("a", email: "shared@Example.com")
    _ = try await store.addUser("other")
    #expect(try await store.users(matching: .email("SHARED@example.com")) == [first, second].sorted { $0.id.text < $1.id.text })
    #expect(try await store.users(matching: .email("shared@example.co")) == [])
    #expect(try await store.users(matching: .username("a")) == [second])
    #expect(try await store.users(matching: .username("A")) == [])
  },
  StorePromise("finds a user by the key alone, and accepts the text of that key") { store in
    let users = [try await store.addUser("a"), try await store.addUser("b")]
    for user in users {
      #expect(try await store.user(id: user.id) == user)
      #expect(store.userID(user.id.text) == user.id)
    }
    #expect(store.userID("") == nil && store.userID("no\nkey") == nil)
    #expect(try await store.user(id: UserID("no key")) == nil)
  },
  StorePromise("gives a last login to the second, and accepts it for a new password") { store in
    let user = try await store.addUser("a", lastLogin: "2026-01-02 03:04:05.678901")
    #expect(user.lastLogin == "2026-01-02 03:04:05")
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: start) != nil)
  },
  StorePromise("sets a password with its audit record and its jobs") { store in
    let user = try await store.addUser("a")
    let jobs = try #require(try await store.setPassword(passwordChange(of: user, to: "y"), at: start))
    #expect(jobs.map(\.kind) == [.changedNotice(userID: user.id, recipient: user.email)])
    #expect(try await store.user(id: user.id)?.password == "y")
    let audit = try await store.auditRows(AuditFilter(), limit: 10)
    #expect(audit.map(\.event) == ["reset"] && audit.map(\.userID) == [user.id] && audit.map(\.requestID) == ["r"])
    #expect(try await store.outboxRows(after: nil, limit: 10, deadLettersOnly: false).map(\.id) == jobs.map(\.id))
  },
  StorePromise("sets no password if the account has changed, and then writes nothing") { store in
    let user = try await store.addUser("a", lastLogin: "2026-01-02 03:04:05")
    var others = [user, user, user, user]
    others[0].password = "X"
    others[1].email = "A@example.com"
    others[2].lastLogin = "2026-01-02 03:04:06"
    others[3].lastLogin = nil
    for other in others { #expect(try await store.setPassword(passwordChange(of: other, to: "y"), at: start) == nil, "\(other)") }
    #expect(try await store.setActive(false, user.id))
    #expect(try await store.setPassword(passwordChange(of: user, to: "y"), at: start) == nil)
    #expect(try await store.userRow(username: "a")?.password == "x")
    #expect(try await store.auditRows(AuditFilter(), limit: 10).isEmpty)
    #expect(try await store.outboxCounts().waiting == 0)
  },
  StorePromise("lets one of fifty concurrent changes win") { store in
    let user = try await store.addUser("a")
    let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
      for index in 0..<50 { group.addTask { try await store.setPassword(passwordChange(of: user, to: "y\(index)"), at: start) != nil } }
      return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(wins == 1)
    #expect(try await store.auditRows(AuditFilter(), limit: 100).count == 1)
  },
  StorePromise("gives each of many callers at once its own user, and none to those who ask for no one") { store in
    let names = (0..<20).map { "user\($0)" }
    var ids: [UserID] = []
    for name in names { ids.append(try await store.addUser(name).id) }
    let unknown = ids.compactMap(\.integer).max().map { UserID($0 + 7) } ?? UserID("0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f")
    let found = try await withThrowingTaskGroup(of: (Int, User?).self) { [ids] group in
      for index in 0..<400 {
        let id = index % 4 == 3 ? unknown : ids[index % 20]
        group.addTask { (index, try await store.user(id: id)) }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for (index, user) in found { #expect(user?.username == (index % 4 == 3 ? nil : names[index % 20])) }
  },
]

/// - Parameter link: the time of the link that allows the change.
func passwordChange(of user: User, to hash: String, link: TokenTime? = nil, keeping formerPasswords: Int = 0) -> PasswordChange {
  let notice = NewJob(.changedNotice(userID: user.id, recipient: user.email), locale: nil, requestID: "r", createdAt: start, due: start)
  var change = PasswordChange(user: user, newHash: hash, event: .reset, requestID: "r", jobs: [notice])
  change.linkTime = link
  change.formerPasswordsToKeep = formerPasswords
  return change
}
