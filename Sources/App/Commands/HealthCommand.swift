import ArgumentParser
import CCurl
import Foundation

struct HealthCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "health", abstract: "Check whether the running service is ready, for example in a container health check.",
    discussion: """
      Requests /health/ready on HTTP_HOST and HTTP_PORT, over TLS if HTTP_SSL_CERTFILE is set, and waits at most three seconds. Exits with 0 if the \
      service is ready. Otherwise, prints the reason and exits with 1.
      """)

  /// Milliseconds for the whole request, including the lookup of the host.
  private static let timeLimit = 3000

  @Flag(help: "Use ADMIN_HOST and ADMIN_PORT instead, which a worker has as well.")
  var admin = false

  func run() async throws {
    try await CommandError.withExitCodes {
      let http = try HTTPSettings(environment: ProcessInfo.processInfo.environment)
      let (host, port, isTLS) = admin ? (http.adminHost, http.adminPort, false) : (http.host, http.port, http.certificate != nil)
      guard port > 0 else {
        let name: SettingName = admin ? .adminPort : .httpPort
        throw CommandError(
          message: "\(name.rawValue) is 0, so the service chooses a port that this command cannot know. Set \(name.rawValue).")
      }
      let url = Self.url(host: host, port: port, isTLS: isTLS)
      let status = try Self.status(of: url)
      guard status == 200 else { throw CommandError(message: "Not ready: \(url) responds with status \(status).") }
      print("ready")
    }
  }

  /// The URL at which this machine reaches a service that listens on `host`.
  static func url(host: String, port: Int, isTLS: Bool) -> String {
    let target =
      switch host {
      case "", "0.0.0.0": "127.0.0.1"
      case "::": "::1"
      default: host
      }
    // A URL needs the percent sign before an IPv6 zone escaped (RFC 6874).
    let name = target.contains(":") ? "[\(target.replacing("%", with: "%25"))]" : target
    return "\(isTLS ? "https" : "http")://\(name):\(port)/health/ready"
  }

  private static func status(of url: String) throws(CommandError) -> Int {
    curl_global_init(Int(CURL_GLOBAL_DEFAULT))
    // By default, libcurl would write the body to standard output.
    guard let handle = curl_easy_init(), let nowhere = fopen("/dev/null", "w") else {
      throw CommandError(message: "Cannot check: libcurl does not start, or /dev/null cannot be opened.")
    }
    defer {
      curl_easy_cleanup(handle)
      fclose(nowhere)
    }
    curl_set_string(handle, CURLOPT_URL, url)
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
    // Use no proxy, even if the environment names one.
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    curl_set_long(handle, CURLOPT_TIMEOUT_MS, timeLimit)
    // The certificate is for the public name of the service, and this request goes to the local address.
    curl_set_long(handle, CURLOPT_SSL_VERIFYPEER, 0)
    curl_set_long(handle, CURLOPT_SSL_VERIFYHOST, 0)
    curl_set_pointer(handle, CURLOPT_WRITEDATA, UnsafeMutableRawPointer(nowhere))
    let result = curl_easy_perform(handle)
    guard result == CURLE_OK else { throw CommandError(message: "Not ready: \(url): \(String(cString: curl_easy_strerror(result))).") }
    return curl_response_code(handle)
  }
}
