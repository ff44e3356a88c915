import Foundation
import GRDB
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Logging
import Testing

@Suite struct `Bad input` {
  @Test(arguments: [
    ("app lication/json", 415), ("appli\"cation/json", 415), ("\"application/json\"", 415), (";application/json", 415),
    ("application/json;charset=utf-16", 415), ("application/json; charset=u tf-8", 415), ("application/json; char set=utf-16", 415),
    ("application/json; charset =utf-16", 415), ("application/json; charset=utf\"-8", 415), ("application/json; charset=\"utf-16\"", 415),
    ("text/plain", 415), ("application/json", 202), ("Application/JSON", 202), ("application/json;", 202), ("application/json ; charset=UTF-8", 202),
    ("application/json; charset=\"utf-8\"", 202), ("application/json; profile=x;charset=utf-8", 202),
    ("application/json; profile=\"a;charset=utf-16\"", 202), ("application/json;charset=\"UTF-8\";", 202),
    ("application/json; ;charset=\"utf\\-8\"", 202),
    ("application/json;profile=\"x\"; charset=latin1", 415), ("application/json; profile=\"x", 415), ("application/json; =x", 415),
    ("application/json; charset", 415), ("application/json, text/plain", 415), ("application/json\t;\tCharSet=utf-8\t", 202),
  ])
  func `of another media type is refused, even if removing blanks and quotation marks would make it JSON`(_ type: String, _ status: Int)
    async throws
  {
    let harness = try Harness()
    try await harness.run { client in
      let body = ByteBuffer(string: #"{"email":"a@example.com"}"#)
      let reply = try await client.execute(uri: "/password-reset", method: .post, headers: [.contentType: type], body: body) { Reply($0) }
      #expect(reply.status == status)
      if status == 415 { #expect(reply.code == "unsupported_media_type") }
    }
  }

  @Test(arguments: [
    ([], 202), (["identity"], 202), (["Identity"], 202), ([" IDENTITY , identity"], 202), ([""], 202), (["gzip"], 415), (["GZIP"], 415),
    (["x-gzip"], 415),
    (["br"], 415), (["deflate"], 415), (["zstd"], 415), (["gzip, identity"], 415), (["identity,gzip"], 415), (["identity", "gzip"], 415),
    (["gzip", "gzip"], 415), (["utf-8"], 415), (["identity;q=1"], 415), (["\"identity\""], 415),
  ])
  func `in a coding other than identity is refused, because it could be read in two ways`(_ codings: [String], _ status: Int) async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      for path in ["/password-reset", "/password-reset/MQ/no-token"] {
        var headers: HTTPFields = [.contentType: "application/json"]
        for coding in codings { headers.append(HTTPField(name: .contentEncoding, value: coding)) }
        let body = ByteBuffer(string: #"{"email":"a@example.com"}"#)
        let reply = try await client.execute(uri: path, method: .post, headers: headers, body: body) { Reply($0) }
        #expect(reply.status == (status == 202 && path.hasSuffix("token") ? 400 : status))
        #expect((reply.code == "unsupported_media_type") == (status == 415))
        #expect(reply.headers[.acceptEncoding] == (status == 415 ? "identity" : nil))
      }
      // Without a body, the header means nothing.
      let check = try await client.send(.get, "/password-reset/MQ/no-token", headers: [.contentEncoding: "gzip"])
      #expect(check.status == 200)
    }
  }

  @Test(arguments: [
    (#"{}"#, ["email": ["required"]]),
    (#"{"email":null}"#, ["email": ["required"]]),
    (#"{"email":""}"#, ["email": ["required"]]),
    (#"{"email":"   "}"#, ["email": ["required"]]),
    (#"{"email":["a@b.co","c@b.co"]}"#, ["email": ["invalid"]]),
    (#"{"email":{"a":"b"}}"#, ["email": ["invalid"]]),
    (#"{"email":7}"#, ["email": ["invalid"]]),
    (#"{"email":true}"#, ["email": ["invalid"]]),
    (#"{"username":["a"]}"#, ["username": ["invalid"]]),
    (#"{"username":""}"#, ["username": ["required"]]),
    (#"{"username":"a","email":"a@b.co"}"#, ["username": ["ambiguous"]]),
    (#"{"email":"stranger"}"#, ["email": ["invalid"]]),
    (#"{"email":"a@b.co,c@b.co"}"#, ["email": ["invalid"]]),
    (#"{"email":"a@b.co\r\nBcc: c@b.co"}"#, ["email": ["invalid"]]),
    (#"{"email":"a\u0000@b.co"}"#, ["email": ["invalid", "null_characters_not_allowed"]]),
    (#"{"username":"a\u0000"}"#, ["username": ["null_characters_not_allowed"]]),
    (#"{"email":"\#(String(repeating: "a", count: 250))@example.com"}"#, ["email": ["max_length"]]),
    (#"{"email":"\#(String(repeating: "a", count: 300))"}"#, ["email": ["invalid", "max_length"]]),
    (#"{"username":"\#(String(repeating: "a", count: 151))"}"#, ["username": ["max_length"]]),
    (#"{"email":"a@b.co","locale":"no way"}"#, ["locale": ["invalid"]]),
    (#"{"email":"a@b.co","locale":5}"#, ["locale": ["invalid"]]),
    (#"{"email":"a@b.co","locale":""}"#, ["locale": ["invalid"]]),
    (#"{"email":"no","locale":7}"#, ["email": ["invalid"], "locale": ["invalid"]]),
  ])
  func `in a field is refused with Django's code for it`(_ body: String, _ codes: [String: [String]]) async throws {
    let harness = try Harness()
    try await harness.run { client in
      let reply = try await client.send(.post, "/password-reset", body: body)
      #expect(reply.status == 400)
      #expect(reply.code == "validation_error")
      #expect(reply.fieldCodes == codes)
      #expect(try reply.json["validlink"] == nil)
      try expectNothingQueued(harness)
    }
  }

  @Test func `of the wrong type is also refused for passwords, and the link stays usable`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      try await harness.addUser()
      _ = try await client.requestReset(email: "alice@example.com")
      let link = try await harness.link()
      let reply = try await client.send(.post, link, body: #"{"new_password1": ["a-Fine-pass-77"], "new_password2": 7}"#)
      #expect(reply.fieldCodes == ["new_password1": ["invalid"], "new_password2": ["invalid"]])
      #expect(try await client.setPassword(link, "a-Fine-pass-77").status == 200)
    }
  }

  @Test func `in unknown members is ignored`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      let body = #"{"email":"a@b.co","username":null,"next":{"deep":[1,2.5e-3,-0,null,true,"\u00e9\ud83d\ude00\n"]},"x":[]}"#
      let reply = try await client.send(.post, "/password-reset", body: body, contentType: #"Application/JSON; Charset="UTF-8""#)
      #expect(reply.status == 202)
    }
  }

  @Test(arguments: [
    nil, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "application/json; charset=latin1", "multipart/form-data",
  ])
  func `of another type than JSON is answered 415`(_ contentType: String?) async throws {
    let harness = try Harness()
    try await harness.run { client in
      for path in ["/password-reset", "/password-reset/MQ/1-2"] {
        let reply = try await client.send(.post, path, body: #"{"email":"a@b.co"}"#, contentType: contentType)
        #expect(reply.status == 415)
        #expect(reply.code == "unsupported_media_type")
      }
      try expectNothingQueued(harness)
    }
  }

  @Test func `over 16 KiB is answered 413, and at the limit it is read`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      func body(of size: Int) -> String {
        let frame = #"{"email":"a@b.co","pad":""}"#
        return frame.replacing(#""pad":"""#, with: #""pad":"\#(String(repeating: "x", count: size - frame.utf8.count))""#)
      }
      #expect(try await client.send(.post, "/password-reset", body: body(of: 16384)).status == 202)
      let reply = try await client.send(.post, "/password-reset", body: body(of: 16385))
      #expect(reply.status == 413)
      #expect(reply.code == "payload_too_large")
    }
  }

  @Test(arguments: [
    "/", "//", "/password-reset/", "//password-reset", "/password-reset//", "/password-reset/MQ", "/password-reset/MQ/", "/password-reset/MQ/1-2/",
    "/password-reset//1-2", "/password-reset/MQ//1-2", "/password-reset/MQ/1-2/3", "/password-reset/../..", "/password-reset/MQ/..",
    "/password-reset/./1-2", "/./password-reset", "/health/../openapi.yaml", "/Password-Reset", "/password%2Dreset", "/password-reset%2FMQ%2F1-2",
    "/health/live/", "/health//live", "/health/live;v=1", "/health", "/openapi.yml", "/password-reset/é/1-2", "/metrics", "/mailbox",
  ])
  func `to a path in another spelling is answered 404, by every method`(_ path: String) async throws {
    let harness = try Harness()
    try await harness.run(logLevel: .error) { client in
      for method: HTTPRequest.Method in [.get, .head, .options, .delete] {
        let reply = try await client.send(method, path)
        #expect(reply.status == 404)
      }
      let reply = try await client.send(.post, path, body: "{}")
      #expect(reply.code == "not_found")
    }
  }

  @Test func `does not matter to OPTIONS, which lists the methods of a path`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      for (path, allow) in [
        ("/password-reset", "POST, OPTIONS"), ("/password-reset/MQ/1-2", "GET, HEAD, POST, OPTIONS"), ("/health/live", "GET, HEAD, OPTIONS"),
        ("/health/ready", "GET, HEAD, OPTIONS"), ("/openapi.yaml", "GET, HEAD, OPTIONS"),
      ] {
        let reply = try await client.send(.options, path)
        #expect(reply.status == 204 && reply.headers[.allow] == allow && reply.text.isEmpty)
      }
    }
  }

  @Test func `with a wrong method is answered 405 with the allowed methods`() async throws {
    let harness = try Harness()
    try await harness.run { client in
      for (path, allow, methods) in [
        ("/password-reset", "POST, OPTIONS", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "BREW"]),
        ("/password-reset/MQ/1-2", "GET, HEAD, POST, OPTIONS", ["PUT", "DELETE", "PATCH", "TRACE"]),
        ("/health/live", "GET, HEAD, OPTIONS", ["POST"]), ("/openapi.yaml", "GET, HEAD, OPTIONS", ["POST"]),
      ] {
        for method in methods {
          let reply = try await client.send(try #require(HTTPRequest.Method(method)), path)
          #expect(reply.status == 405)
          #expect(reply.headers[.allow] == allow)
          #expect(method == "HEAD" ? reply.text.isEmpty : reply.code == "method_not_allowed")
        }
      }
    }
  }

  @Test(arguments: [
    "/", "/nothing", "/password-reset/MQ", "/password-reset/MQ/1-2/3", "/password-reset//1-2", "/metrics", "/health", "/openapi.json",
  ])
  func `in the path is answered 404`(_ path: String) async throws {
    let harness = try Harness()
    try await harness.run { client in
      let reply = try await client.get(path)
      #expect(reply.status == 404)
      #expect(reply.code == "not_found")
    }
  }

  private func expectNothingQueued(_ harness: Harness) throws {
    #expect(try harness.count("SELECT count(*) FROM password_reset_outbox") == 0)
  }
}

@Suite struct `Every response` {
  @Test(arguments: [
    (HTTPRequest.Method.get, "/health/live"), (.get, "/health/ready"), (.head, "/health/ready"), (.get, "/openapi.yaml"),
    (.get, "/password-reset/MQ/1-2"),
    (.post, "/password-reset"), (.get, "/nothing"), (.put, "/password-reset"),
  ])
  func `forbids caching, passing on its address and guessing its type, and has a random ID`(_ method: HTTPRequest.Method, _ path: String) async throws
  {
    let harness = try Harness()
    try await harness.run { client in
      let replies = [try await client.send(method, path), try await client.send(method, path)]
      for reply in replies {
        #expect(reply.headers[.cacheControl] == "no-store")
        #expect(reply.headers[.referrerPolicy] == "no-referrer")
        #expect(reply.headers[.xContentTypeOptions] == "nosniff")
      }
      let ids = replies.compactMap { $0.headers[.requestID] }
      #expect(Set(ids).count == 2)
      #expect(ids.allSatisfy { $0.wholeMatch(of: /[0-9a-f]{32}/) != nil })
    }
  }
}
