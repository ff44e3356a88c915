/// The queries for users. Each connection of the ``SynchronousReaderPool`` keeps them compiled.
enum UserQuery {
  case userByID, usersByEmail, usersByUsername

  var sql: String {
    switch self {
    case .userByID: Self.userOrNearest
    // SQLite's NOCASE folds only ASCII, like the LIKE that Django uses for `iexact`. An index can serve NOCASE, but not
    // LIKE.
    case .usersByEmail: "SELECT \(UserColumn.resetList) FROM auth_user WHERE email = ?1 COLLATE NOCASE ORDER BY id"
    case .usersByUsername: "SELECT \(UserColumn.resetList) FROM auth_user WHERE username = ?1 ORDER BY id"
    }
  }

  /// Selects the user with the key, otherwise the one with the next lower key, otherwise the one with the lowest key.
  /// Every key searches for and reads one user, so that the time does not reveal which keys exist.
  private static let userOrNearest = """
    SELECT \(UserColumn.resetList) FROM auth_user
    WHERE id = ifnull((SELECT max(id) FROM auth_user WHERE id <= ?1), (SELECT min(id) FROM auth_user))
    """
}
