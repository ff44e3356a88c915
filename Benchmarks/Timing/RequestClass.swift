import Credentials
import Foundation

/// Requests that differ only in the account that they name.
enum RequestClass {
  /// `POST /password-reset` with an account's address.
  case resetRequest(AccountKind)
  /// `GET /password-reset/<uidb64>/<token>` with a token that is wrong, for a known user or for a key without a user.
  case linkCheck(isKnown: Bool)

  /// A well-formed and recent token, signed with another secret key.
  private static let token = PasswordResetTokenGenerator(secretKey: "another key", timeout: 0).makeToken(
    for: TokenSubject(id: UserID(0), password: "", lastLogin: nil, email: ""), at: Date())

  /// The status of every response.
  var status: Int {
    switch self {
    case .resetRequest: 202
    case .linkCheck: 200
    }
  }

  func request(_ index: Int) -> [UInt8] {
    switch self {
    case .resetRequest(let kind):
      let body = #"{"email": "\#(kind.email(index))"}"#
      let head = "POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
      return Array((head + body).utf8)
    case .linkCheck(let isKnown):
      let uid = UIDB64.encode(TestKey.current.id(index, isKnown: isKnown))
      return Array("GET /password-reset/\(uid)/\(Self.token) HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
    }
  }
}
