import Credentials
import Foundation

/// One side of a comparison: requests that are alike but for whom they name.
enum Side {
  /// `POST /password-reset` with the subject's address.
  case ask(Subject)
  /// `GET /password-reset/<uidb64>/<token>` with a token that is not the user's, if there is such a user.
  case check(isKnown: Bool)

  /// Well-formed, made just now, and nobody's.
  private static let token = PasswordResetTokenGenerator(secretKey: "nobody's", timeout: 0).makeToken(
    for: TokenSubject(id: UserID(0), password: "", lastLogin: nil, email: ""), at: Date())

  /// The status of every reply.
  var status: Int {
    switch self {
    case .ask: 202
    case .check: 200
    }
  }

  /// Of one length for every index and for both sides of a comparison.
  func request(_ index: Int) -> [UInt8] {
    switch self {
    case .ask(let subject):
      let body = #"{"email": "\#(subject.email(index))"}"#
      let head = "POST /password-reset HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
      return Array((head + body).utf8)
    case .check(let isKnown):
      let uid = UIDB64.encode(UserID(Subject.id(index, isKnown: isKnown)))
      return Array("GET /password-reset/\(uid)/\(Self.token) HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8)
    }
  }
}
