package import Credentials

/// The users in the rows of a join with django-allauth's table of addresses.
package struct JoinedUsers: Sendable {
  /// A row of the join.
  package struct Row: Sendable {
    /// The user's key, or `nil` if it cannot be read.
    package var id: UserID?
    /// The user without addresses, or `nil` if something in the row cannot be read.
    package var user: User?
    /// One of the user's addresses, or `nil` if there are none.
    package var address: EmailAddress?

    package init(id: UserID?, user: User?, address: EmailAddress?) {
      self.id = id
      self.user = user
      self.address = address
    }
  }

  /// The users, with their addresses, in the order of the rows.
  package private(set) var users: [User] = []
  /// The keys of users who have a row that cannot be read.
  package private(set) var damaged: [UserID] = []

  /// Merges rows. Those of one user must follow one another.
  package init(_ rows: [Row]) {
    for row in rows {
      guard let id = row.id, damaged.last != id else { continue }
      guard var user = row.user else {
        // A part of the addresses would be a guess.
        if users.last?.id == id { users.removeLast() }
        damaged.append(id)
        continue
      }
      if users.last?.id == id {
        user.addresses = users.removeLast().addresses
      }
      user.addresses = (user.addresses ?? []) + (row.address.map { [$0] } ?? [])
      users.append(user)
    }
  }

  /// Merges the users of two searches, in the order of the first and then of the second.
  package static func + (first: Self, second: Self) -> Self {
    var result = first
    result.users += second.users.filter { user in !first.users.contains { $0.id == user.id } }
    result.damaged += second.damaged.filter { !first.damaged.contains($0) }
    return result
  }
}
