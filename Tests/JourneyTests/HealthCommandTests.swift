import Testing

@testable import App

@Suite struct `The health command` {
  @Test(arguments: [
    ("127.0.0.1", "http://127.0.0.1:8080/health/ready"), ("0.0.0.0", "http://127.0.0.1:8080/health/ready"),
    ("", "http://127.0.0.1:8080/health/ready"), ("::", "http://[::1]:8080/health/ready"), ("::1", "http://[::1]:8080/health/ready"),
    ("fe80::1%eth0", "http://[fe80::1%25eth0]:8080/health/ready"), ("app.internal", "http://app.internal:8080/health/ready"),
  ])
  func `finds the listener from the same machine`(_ host: String, _ url: String) {
    #expect(HealthCommand.url(host: host, port: 8080, isTLS: false) == url)
    #expect(HealthCommand.url(host: host, port: 8080, isTLS: true) == url.replacing("http://", with: "https://"))
  }
}
