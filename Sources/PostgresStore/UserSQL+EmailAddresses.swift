import PasswordReset

// The parts of statements that concern django-allauth's table of addresses. Without allauth they are empty.

extension UserSQL {
  /// The columns that follow those of the user: an address, and whether it is verified.
  var addressList: String { mapping.usesAllauth ? ", password_reset_address::text, password_reset_verified" : "" }

  /// Joins the users with their addresses, under names that no users table has. A user without any has one row.
  var addressJoin: String {
    guard mapping.usesAllauth else { return "" }
    return """

      LEFT JOIN (
        SELECT id AS password_reset_address_id, email AS password_reset_address, verified AS password_reset_verified, user_id AS password_reset_user_id
        FROM \(addressTable)
      ) AS password_reset_addresses ON password_reset_user_id = \(key)
      """
  }

  /// Orders the addresses of each user.
  var addressOrder: String { mapping.usesAllauth ? ", password_reset_address_id" : "" }

  /// The condition that the user has verified the address in the parameter. allauth stores addresses in lowercase, so the
  /// index on them serves.
  func hasVerified(_ parameter: String) -> String {
    "\(key) IN (SELECT user_id FROM \(addressTable) WHERE email = \(parameter)::text AND verified)"
  }

  /// A further condition: the addresses that a token is bound to are as they were read. `$13` is the user's own in
  /// lowercase, and `$14` all of them as ``AddressSet`` joins them.
  func hasSameAddresses(ofKey parameter: String) -> String {
    guard mapping.usesAllauth else { return "" }
    return """

          AND coalesce((SELECT string_agg(email, '|' ORDER BY email) FROM (
            SELECT email::text COLLATE "C" AS email FROM \(addressTable) WHERE user_id = \(keyParameter(parameter))
            UNION SELECT $13::text COLLATE "C" WHERE $13::text <> ''
          ) AS addresses), '') = $14::text COLLATE "C"
      """
  }
}
