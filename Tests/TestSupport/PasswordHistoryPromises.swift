import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``PasswordHistoryStore``.
public let passwordHistoryPromises: [StorePromise] = [
  StorePromise("keeps as many replaced passwords of a user as each change demands, the newest first") { store in
    let (first, second) = (try await store.addUser("a"), try await store.addUser("b"))
    #expect(try await store.formerPasswords(of: first.id, limit: 9) == [])
    for number in 1...5 { try await change(first.id, to: "hash \(number)", keeping: 3, in: store) }
    try await change(second.id, to: "other", keeping: 3, in: store)
    #expect(try await store.formerPasswords(of: first.id, limit: 9) == ["hash 4", "hash 3", "hash 2"])
    #expect(try await store.formerPasswords(of: first.id, limit: 2) == ["hash 4", "hash 3"])
    #expect(try await store.formerPasswords(of: second.id, limit: 9) == ["x"])
    // A rule that was shortened.
    try await change(first.id, to: "hash 6", keeping: 1, in: store)
    #expect(try await store.formerPasswords(of: first.id, limit: 9) == ["hash 5"])
  },
  StorePromise("neither adds nor deletes former passwords in a change that does not keep them") { store in
    let user = try await store.addUser("a")
    try await change(user.id, to: "y", keeping: 0, in: store)
    #expect(try await store.formerPasswords(of: user.id, limit: 9) == [])
    try await change(user.id, to: "z", keeping: 2, in: store)
    try await change(user.id, to: "w", keeping: 0, in: store)
    #expect(try await store.formerPasswords(of: user.id, limit: 9) == ["y"])
  },
  StorePromise("adds and deletes no former password if the user has changed") { store in
    let user = try await store.addUser("a")
    for hash in ["y", "z"] { try await change(user.id, to: hash, keeping: 2, in: store) }
    #expect(try await store.setPassword(passwordChange(of: user, to: "w", keeping: 1), at: start) == nil)
    #expect(try await store.formerPasswords(of: user.id, limit: 9) == ["y", "x"])
  },
  StorePromise("adds one former password when fifty changes race") { store in
    let user = try await store.addUser("a")
    try await change(user.id, to: "y", keeping: 2, in: store)
    let current = try #require(try await store.user(id: user.id))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<50 {
        group.addTask { _ = try await store.setPassword(passwordChange(of: current, to: "hash \(index)", keeping: 2), at: start) }
      }
      try await group.waitForAll()
    }
    #expect(try await store.formerPasswords(of: user.id, limit: 9) == ["y", "x"])
  },
  StorePromise("lists each user with former passwords once, and deletes those of one user") { store in
    var ids: [UserID] = []
    for name in ["a", "b", "c", "d", "e"] {
      ids.append(try await store.addUser(name).id)
      for hash in ["y", "z"] where name != "c" { try await change(ids.last ?? UserID(0), to: hash, keeping: 3, in: store) }
    }
    ids.remove(at: 2)
    let first = try await store.usersWithFormerPasswords(after: nil, limit: 3)
    let rest = try await store.usersWithFormerPasswords(after: first.last, limit: 3)
    #expect(first.count == 3 && rest.count == 1)
    #expect(Set(first + rest) == Set(ids))
    try await store.deleteFormerPasswords(of: ids[1])
    #expect(Set(try await store.usersWithFormerPasswords(after: nil, limit: 9)) == Set(ids).subtracting([ids[1]]))
    #expect(try await store.formerPasswords(of: ids[1], limit: 9) == [])
    #expect(try await store.formerPasswords(of: ids[0], limit: 9) == ["y", "x"])
  },
]

/// Changes a password as the store has the user now.
private func change(_ id: UserID, to hash: String, keeping formerPasswords: Int, in store: any Store) async throws {
  let user = try #require(try await store.user(id: id))
  _ = try #require(try await store.setPassword(passwordChange(of: user, to: hash, keeping: formerPasswords), at: start))
}
