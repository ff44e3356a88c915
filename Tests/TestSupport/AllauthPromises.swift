import Credentials
import Foundation
public import PasswordReset
public import Testing

/// A database with django-allauth's table of addresses, and a store that reads it.
public struct AllauthSite: Sendable {
  /// Returns the statement that creates allauth's table next to a users table whose key has the given type.
  public static func table(key: String = "integer") -> String {
    """
    CREATE TABLE account_emailaddress (
      id integer PRIMARY KEY, email varchar(254) NOT NULL, verified boolean NOT NULL, "primary" boolean NOT NULL, user_id \(key) NOT NULL,
      UNIQUE (user_id, email))
    """
  }

  public var store: any Store
  /// Runs a statement of SQL, as the site would.
  public var execute: @Sendable (String) async throws -> Void

  public init(store: any Store, execute: @escaping @Sendable (String) async throws -> Void) {
    self.store = store
    self.execute = execute
  }

  /// Adds an address, and returns the user with it.
  @discardableResult
  fileprivate func add(_ address: String, number: Int, isVerified: Bool = true, to user: User) async throws -> User {
    try await execute(
      "INSERT INTO account_emailaddress VALUES (\(number), '\(address)', \(isVerified), false, '\(store.userMapping.key.stored(user.id))')")
    return try #require(try await store.user(id: user.id))
  }
}

/// A promise of ``UserStore`` about the addresses of allauth.
public struct AllauthPromise: Sendable, CustomTestStringConvertible {
  public let testDescription: String
  /// Checks the promise on a site without users.
  public let check: @Sendable (AllauthSite) async throws -> Void

  init(_ name: String, _ check: @escaping @Sendable (AllauthSite) async throws -> Void) {
    testDescription = name
    self.check = check
  }
}

/// The promises of ``UserStore`` about the addresses of allauth.
public let allauthPromises: [AllauthPromise] = [
  AllauthPromise("gives each user their own addresses, in the order in which they were added") { site in
    let (first, second) = (try await site.store.addUser("a"), try await site.store.addUser("b"))
    #expect(first.addresses == [] && site.store.linkFormat == .allauth(site.store.userMapping.key))
    try await site.add("z@example.com", number: 1, to: first)
    try await site.add("other@example.com", number: 2, to: second)
    let user = try await site.add("a@example.com", number: 3, isVerified: false, to: first)
    #expect(user.addresses == [EmailAddress("z@example.com", isVerified: true), EmailAddress("a@example.com", isVerified: false)])
    #expect(try await site.store.user(id: second.id)?.addresses?.map(\.email) == ["other@example.com"])
    let missing = second.id.integer.map { UserID($0 + 1) } ?? UserID("ffffffff-ffff-4fff-bfff-ffffffffffff")
    #expect(try await site.store.user(id: missing) == nil)
    #expect(try await site.store.users(matching: .username("a")) == [user])
  },
  AllauthPromise("finds users by a verified address and then by their own, each once and the oldest first") { site in
    var (older, b) = (try await site.store.addUser("older"), try await site.store.addUser("b", email: "A@example.com"))
    var a = try await site.store.addUser("a")
    a = try await site.add("a@example.com", number: 1, to: a)
    older = try await site.add("a@example.com", number: 4, to: older)
    b = try await site.add("secret@example.com", number: 2, isVerified: false, to: b)
    b = try await site.add("home@example.com", number: 3, to: b)
    // The order of keys that are not numbers says nothing about the age.
    let verified = older.id.integer == nil ? [older, a].sorted { $0.id.text < $1.id.text } : [older, a]
    #expect(try await site.store.users(matching: .email("a@example.com")) == verified + [b])
    #expect(try await site.store.users(matching: .email("HOME@example.com")) == [b])
    #expect(try await site.store.users(matching: .email("secret@example.com")) == [])
  },
  AllauthPromise("sets no password after the set of addresses has changed") { site in
    let user = try await site.store.addUser("a", email: "A@example.com")
    let extended = try await site.add("new@example.com", number: 1, isVerified: false, to: user)
    #expect(try await site.store.setPassword(passwordChange(of: user, to: "y"), at: start) == nil)
    try await site.execute("UPDATE account_emailaddress SET email = 'New@example.com'")
    #expect(try await site.store.setPassword(passwordChange(of: extended, to: "y"), at: start) == nil)
    try await site.execute("DELETE FROM account_emailaddress")
    #expect(try await site.store.setPassword(passwordChange(of: extended, to: "y"), at: start) == nil)
    #expect(try await site.store.userRow(username: "a")?.password == "x")
    #expect(try await site.store.auditRows(AuditFilter(), limit: 10).isEmpty)
    #expect(try await site.store.setPassword(passwordChange(of: user, to: "y"), at: start) != nil)
  },
  AllauthPromise("sets a password although allauth has copied the user's own address, or someone has confirmed one") { site in
    var user = try await site.store.addUser("a", email: "A@example.com")
    user = try await site.add("é|@example.com", number: 1, isVerified: false, to: user)
    user = try await site.add("Z@example.com", number: 2, isVerified: false, to: user)
    try await site.add("a@example.com", number: 3, isVerified: false, to: user)
    try await site.execute("UPDATE account_emailaddress SET verified = true")
    #expect(try await site.store.setPassword(passwordChange(of: user, to: "y"), at: start) != nil)
  },
  AllauthPromise("sets a password for a user without any address") { site in
    let user = try await site.store.addUser("a", email: "")
    let change = PasswordChange(user: user, newHash: "y", event: .reset, requestID: "r", jobs: [])
    #expect(try await site.store.setPassword(change, at: start) == [])
  },
  AllauthPromise("keeps the replaced password, unless the set of addresses has changed") { site in
    var user = try await site.store.addUser("a", email: "A@example.com")
    let stale = user
    user = try await site.add("new@example.com", number: 1, to: user)
    #expect(try await site.store.setPassword(passwordChange(of: stale, to: "y", keeping: 2), at: start) == nil)
    #expect(try await site.store.formerPasswords(of: user.id, limit: 9) == [])
    #expect(try await site.store.setPassword(passwordChange(of: user, to: "y", keeping: 2), at: start) != nil)
    #expect(try await site.store.formerPasswords(of: user.id, limit: 9) == ["x"])
  },
]
