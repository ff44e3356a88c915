import Credentials
import Foundation
import PasswordReset

/// The user that `serve --dev` creates in an empty database, so that there is a password to reset.
enum DemoUser {
  private static let username = "demo"
  private static let email = "demo@example.com"

  static func add(to settings: Settings) async throws {
    let store = try openDatabase(settings.database)
    try store.migrate()
    guard try await !store.hasUsers() else { return }
    // A random password that no one knows: it only has to be reset.
    let password = try settings.passwords.hashers.encode(UnusablePassword.make())
    _ = try await store.addUser(username: username, email: email, password: password, at: Date())
  }

  static func welcome(_ settings: Settings, port: Int) -> String {
    """

    password-reset is ready, in development mode. Request a reset in another terminal; \
    \(settings.mail.backend == .memory ? "read the email over HTTP:" : "the email appears here:")

      curl -i http://\(settings.http.host):\(port)/password-reset --json '{"email": "\(email)"}'

    """
  }
}
