import ArgumentParser
import CCurl
import Foundation

struct HealthCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "health", abstract: "Ask the running service whether it is ready, for a container's health check.",
    discussion: """
      Asks for /health/ready on HTTP_HOST and HTTP_PORT, over TLS if HTTP_SSL_CERTFILE is set, and waits three seconds at most. Exits 0 if it is
      ready, and 1 with the reason if it is not.
      """)

  /// Milliseconds, from the look-up of the host to the end of the answer.
  private static let timeLimit = 3000

  func run() async throws {
    try await CommandError.report {
      let http = try HTTPSettings(environment: ProcessInfo.processInfo.environment)
      let (host, port, isTLS) = (http.host, http.port, http.certificate != nil)
      guard port > 0 else { throw CommandError(message: "HTTP_PORT is 0, which has the service pick a port that is known to nobody else; set one") }
      let url = Self.url(host: host, port: port, isTLS: isTLS)
      let status = try Self.status(of: url)
      guard status == 200 else { throw CommandError(message: "not ready: \(url) answers \(status)") }
      print("ready")
    }
  }

  /// Where a service that listens on `host` is asked from its own machine.
  static func url(host: String, port: Int, isTLS: Bool) -> String {
    let target =
      switch host {
      case "", "0.0.0.0": "127.0.0.1"
      case "::": "::1"
      default: host
      }
    // The zone of an address is escaped in a URL (RFC 6874).
    let name = target.contains(":") ? "[\(target.replacing("%", with: "%25"))]" : target
    return "\(isTLS ? "https" : "http")://\(name):\(port)/health/ready"
  }

  private static func status(of url: String) throws(CommandError) -> Int {
    curl_global_init(Int(CURL_GLOBAL_DEFAULT))
    // libcurl writes the body to a stream; to standard output, were it not given another.
    guard let handle = curl_easy_init(), let nowhere = fopen("/dev/null", "w") else {
      throw CommandError(message: "not known: libcurl cannot be used, or /dev/null not be opened")
    }
    defer {
      curl_easy_cleanup(handle)
      fclose(nowhere)
    }
    curl_set_string(handle, CURLOPT_URL, url)
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
    // None, whatever the environment says.
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    curl_set_long(handle, CURLOPT_TIMEOUT_MS, timeLimit)
    // The certificate is for the name that the dependencies knows, and this asks the machine itself.
    curl_set_long(handle, CURLOPT_SSL_VERIFYPEER, 0)
    curl_set_long(handle, CURLOPT_SSL_VERIFYHOST, 0)
    curl_set_pointer(handle, CURLOPT_WRITEDATA, UnsafeMutableRawPointer(nowhere))
    let result = curl_easy_perform(handle)
    guard result == CURLE_OK else { throw CommandError(message: "not ready: \(url): \(String(cString: curl_easy_strerror(result)))") }
    return curl_response_code(handle)
  }
}
