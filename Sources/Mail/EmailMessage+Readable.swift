import Foundation
import PasswordReset

extension EmailMessage {
  /// Returns the message as readable MIME, followed by the line that Django writes between the messages of a stream.
  func readableData() throws(MailError) -> Data {
    Data(try MIMEEncoder.encode(self, as: .readable).data + Array(("\n" + String(repeating: "-", count: 79) + "\n").utf8))
  }
}
