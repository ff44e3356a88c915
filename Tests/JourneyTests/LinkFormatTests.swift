import Credentials
import Testing

@testable import PasswordReset

@Suite struct `A link of allauth` {
  private static let uuid = "8f14e45f-ceea-467f-a8d7-9b1f0c2d3e4f"

  @Test(arguments: [
    (UserKey.integer, "1295", "zz"), (.uuid, uuid, "8f14e45fceea467fa8d79b1f0c2d3e4f"),
    (.uuidDigits, uuid, "8f14e45fceea467fa8d79b1f0c2d3e4f"), (.text, "Abc9", "Abc9"), (.text, "a-b/ü", "a%2Db%2F%C3%BC"),
  ])
  func `names each kind of key as allauth does, and is read back`(_ kind: UserKey, _ key: String, _ uid: String) {
    let format = LinkFormat.allauth(kind)
    #expect(format.encode(UserID(key)) == uid)
    #expect(format.decode(uid) == UserID(key))
  }

  @Test(arguments: [
    (UserKey.integer, "ZZ"), (.integer, "0zz"), (.uuid, uuid), (.uuid, "8F14E45FCEEA467FA8D79B1F0C2D3E4F"), (.uuid, "8f14e45f"),
    (.uuid, "8f14e45fceea467fa8d79b1f0c2d3e4g"), (.text, "a-b"), (.text, "%41bc9"), (.text, "a%2db"), (.text, "a%"), (.text, "%FF"),
  ])
  func `is refused in any other spelling`(_ kind: UserKey, _ uid: String) {
    #expect(LinkFormat.allauth(kind).decode(uid) == nil)
  }
}
