/// The columns of Django's `auth_user` that the store reads or writes. The raw value is the column's position in
/// ``list`` and, up to `isActive`, in ``resetList``.
enum UserColumn: CInt, CaseIterable {
  // The columns that a reset needs.
  case id, username, email, firstName, lastName, password, lastLogin, isActive
  // The commands for users also need these.
  case isStaff, isSuperuser, dateJoined

  var name: String {
    switch self {
    case .id: "id"
    case .username: "username"
    case .email: "email"
    case .firstName: "first_name"
    case .lastName: "last_name"
    case .password: "password"
    case .lastLogin: "last_login"
    case .isActive: "is_active"
    case .isStaff: "is_staff"
    case .isSuperuser: "is_superuser"
    case .dateJoined: "date_joined"
    }
  }

  /// The names of all columns, for a SQL statement.
  static let list = allCases.map(\.name).joined(separator: ", ")

  /// The names of the columns that a reset needs, for a SQL statement.
  static let resetList = allCases.filter { $0.rawValue <= isActive.rawValue }.map(\.name).joined(separator: ", ")
}
