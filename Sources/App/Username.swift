import Foundation
import Text

/// Django's rules for user names.
enum Username {
  /// Returns the name as Django stores it (`AbstractBaseUser.normalize_username`), or `nil` if `UnicodeUsernameValidator` refuses it.
  static func normalized(_ name: String) -> String? {
    let name = name.precomposedStringWithCompatibilityMapping
    let fits =
      (1...150).contains(name.unicodeScalars.count) && name.unicodeScalars.allSatisfy { $0.isPythonWord || ".@+-".unicodeScalars.contains($0) }
    return fits ? name : nil
  }
}
