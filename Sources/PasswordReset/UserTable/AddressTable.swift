/// django-allauth's table of addresses, which the service only reads.
public enum AddressTable {
  public static let name = "account_emailaddress"
  /// The columns that the service reads: the key, the address, whether the user has confirmed it, and the user's key.
  public static let columns = ["id", "email", "verified", "user_id"]

  /// Checks that the service can join the table with the users.
  /// - Parameter found: the columns that the table has, or none if there is no such table.
  public static func check(_ found: [TableColumn], users: UserMapping) throws(StoreOpenError) {
    guard !found.isEmpty else { throw .missingAddressTable }
    let missing = columns.filter { name in !found.contains { $0.name == name } }
    guard missing.isEmpty else { throw .unusableAddressTable(reason: "it has no column \(missing.joined(separator: ", "))") }
    guard let userID = found.first(where: { $0.name == "user_id" }), userID.key == users.key else {
      throw .unusableAddressTable(reason: "its column user_id is not \(users.key.noun) like the key of the table \(users.table)")
    }
  }
}
