import PasswordReset

// The statements that also read django-allauth's table of addresses.

extension UserMapping {
  /// The columns that follow those of the user: an address, and whether it is verified. Empty without allauth.
  var addressList: String { usesAllauth ? ", password_reset_address, password_reset_verified" : "" }

  /// Joins the users with their addresses, under names that no users table has. A user without any has one row.
  var addressJoin: String {
    guard usesAllauth else { return "" }
    return """

      LEFT JOIN (
        SELECT id AS password_reset_address_id, email AS password_reset_address, verified AS password_reset_verified, user_id AS password_reset_user_id
        FROM \(AddressTable.name)
      ) AS password_reset_addresses ON password_reset_user_id = \(quoted(.id))
      """
  }

  /// Orders the addresses of each user.
  var addressOrder: String { usesAllauth ? ", password_reset_address_id" : "" }
}

extension UserStatements {
  /// Selects the keys of users who have verified an address. allauth stores addresses in lowercase, so the index on them
  /// serves.
  static let keysByVerifiedAddress = "SELECT user_id FROM \(AddressTable.name) WHERE email = ?1 AND verified = 1"

  /// Selects the addresses of a user.
  static let addresses = "SELECT email FROM \(AddressTable.name) WHERE user_id = ?1"
}
