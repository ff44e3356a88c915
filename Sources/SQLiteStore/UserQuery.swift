/// The queries for users. Each connection of the ``SynchronousReaderPool`` keeps them compiled.
enum UserQuery {
  case userByID, usersByEmail, usersByUsername
  /// Only next to django-allauth.
  case usersByVerifiedAddress
}
