import Credentials
import Foundation
import PasswordReset
import Testing

/// The promises of ``UserDirectory``.
public let userDirectoryPromises: [StorePromise] = [
  StorePromise("gives each user on one page, in the order of the keys, and then an empty page") { store in
    let rows = (0..<12).map { UserRow(username: "user\($0)", email: "", password: "x", dateJoined: "2026-01-02 03:04:05.678901") }
    let ids = try await store.add(rows).compactMap { if case .added(let id) = $0 { id } else { nil } }
    #expect(ids.count == 12)
    var (found, last, sizes) = ([UserRow](), UserID?.none, [Int]())
    repeat {
      let page = try await store.userPage(after: last, limit: 5)
      #expect(page.damaged.isEmpty && page.withoutKey == 0)
      sizes.append(page.rows.count)
      found += page.rows
      last = page.last
    } while last != nil
    #expect(sizes == [5, 5, 2, 0])
    // A key that is text may consist of digits.
    let isNumber = store.userMapping.key == .integer
    #expect(found.map(\.id) == ids.sorted { isNumber ? ($0.integer ?? 0) < ($1.integer ?? 0) : $0.text < $1.text })
    #expect(Set(found.map(\.username)) == Set(rows.map(\.username)))
    #expect(try await store.userCount() == 12)
  },
  StorePromise("finds users by name, address, key and a part of their texts") { store in
    let first = try await store.addUser("alice", email: "Shared@example.com")
    let second = try await store.addUser("bob_1", email: "shared@example.com")
    func found(_ selection: UserSelection) async throws -> [UserID?] { try await store.userPage(selection, after: nil, limit: 10).rows.map(\.id) }
    #expect(try await found(.username("alice")) == [first.id])
    #expect(try await found(.username("Alice")) == [])
    let inOrder = [first.id, second.id].sorted { $0.text < $1.text }
    #expect(try await found(.email("SHARED@example.com")) == inOrder)
    #expect(try await found(.id(second.id)) == [second.id])
    #expect(try await found(.id(UserID("no key"))) == [])
    #expect(try await found(.containing("ALIC")) == [first.id])
    #expect(try await found(.containing("b_1")) == [second.id])
    #expect(try await found(.containing("b%")) == [])
    #expect(try await store.userPage(.containing("shared"), after: inOrder[0], limit: 10).rows.map(\.id) == [inOrder[1]])
  },
  StorePromise("returns a row as it was added, with its times to the microsecond") { store in
    #expect(try await store.hasUsers() == false)
    #expect(try await store.userRow(username: "a") == nil)
    var row = UserRow(
      username: "a", email: "a@example.com", firstName: "Ä", lastName: "B", password: "hash", dateJoined: "0001-01-01 00:00:00.000001")
    (row.isActive, row.isStaff, row.isSuperuser) = (false, true, true)
    row.lastLogin = "2026-01-02 03:04:05.678901"
    guard case .added(let id) = try await store.add([row]).first else { throw Missing() }
    row.id = id
    #expect(try await store.userRow(username: "a") == row)
    #expect(try await store.userRow(username: "A") == nil)
    #expect(try await store.hasUsers())
  },
  StorePromise("adds what is new and reports what is taken, without failing the others") { store in
    let first = try await store.addUser("a", email: "a@example.com")
    func row(_ username: String, _ email: String, id: UserID? = nil) -> UserRow {
      UserRow(id: id, username: username, email: email, password: "other", dateJoined: DjangoTime.text(of: start))
    }
    let results = try await store.add([
      row("a", "a@example.com"), row("a", "a@example.com", id: first.id), row("a", "b@example.com"), row("c", "c@example.com", id: first.id),
      row("d", "d@example.com"),
    ])
    #expect(Array(results.prefix(4)) == [.present, .present, .nameTaken, .keyTaken])
    guard case .added = results.last else { throw Missing() }
    #expect(try await store.userRow(username: "a")?.password == "x")
    #expect(try await store.userCount() == 2)
  },
  StorePromise("activates and deactivates one user, and reports a key that no user has") { store in
    let (first, second) = (try await store.addUser("a"), try await store.addUser("b"))
    #expect(try await store.setActive(false, first.id))
    #expect(try await store.user(id: first.id)?.isActive == false)
    #expect(try await store.user(id: second.id)?.isActive == true)
    #expect(try await store.setActive(true, first.id))
    #expect(try await store.user(id: first.id)?.isActive == true)
    #expect(try await store.setActive(true, UserID(9_999)) == false)
  },
]

private struct Missing: Error {}
