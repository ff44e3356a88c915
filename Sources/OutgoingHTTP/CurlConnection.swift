import CCurl
import Foundation
import Text

/// A libcurl handle that keeps its connection open between requests. Only one thread may use it.
final class CurlConnection {
  private static let initialized: CURLcode = curl_global_init(Int(CURL_GLOBAL_DEFAULT))

  /// The progress of a request.
  private struct Progress {
    let transfer: CurlTransfer
    let isPlain: Bool
    /// Whether the URL names this machine.
    let isLocal: Bool
    var reply: CurlReply
    /// An address that was refused.
    var forbidden: IPAddress?
    /// Whether an address was permitted.
    var connects = false

    init(_ transfer: CurlTransfer) {
      self.transfer = transfer
      let url = URLComponents(string: transfer.request.url)
      isPlain = url?.scheme?.lowercased() != "https"
      let host = url?.host?.trimmingCharacters(in: ["[", "]"]) ?? ""
      isLocal = host.lowercased() == "localhost" || IPAddress(host).map(AddressRules.isLoopback) == true
      reply = CurlReply(limit: transfer.request.replyLimit)
    }
  }

  private let rules: AddressRules
  private let authoritiesFile: String?
  private let handle: UnsafeMutableRawPointer?
  private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  private var progress: Progress?

  init(_ rules: AddressRules, authoritiesFile: String?) {
    _ = Self.initialized
    self.rules = rules
    self.authoritiesFile = authoritiesFile
    handle = curl_easy_init()
  }

  deinit {
    curl_easy_cleanup(handle)
    errorText.deallocate()
  }

  /// Sends one request. It blocks for up to the request's timeout.
  func perform(_ transfer: CurlTransfer) -> Result<HTTPClient.Reply, HTTPClient.Failure> {
    let request = transfer.request
    var headers: UnsafeMutablePointer<curl_slist>?
    defer { curl_slist_free_all(headers) }
    // Without the empty one, libcurl would wait for `100 Continue` before a longer body.
    for line in request.headers.map({ "\($0.name): \($0.value)" }) + ["Expect:"] { headers = curl_slist_append(headers, line) }
    curl_easy_reset(handle)
    configure(request)
    curl_set_pointer(handle, CURLOPT_HTTPHEADER, headers)
    attachCallbacks()
    progress = Progress(transfer)
    defer { progress = nil }
    return result(of: send(request.body), transfer)
  }

  private func send(_ body: Data?) -> CURLcode {
    guard let body else { return curl_easy_perform(handle) }
    return Array(body).withUnsafeBytes { bytes in
      curl_set_long(handle, CURLOPT_POST, 1)
      curl_set_long(handle, CURLOPT_POSTFIELDSIZE, bytes.count)
      // libcurl reads the body from here, and would read from elsewhere if there were no address.
      curl_set_pointer(handle, CURLOPT_POSTFIELDS, UnsafeMutableRawPointer(mutating: bytes.baseAddress) ?? UnsafeMutableRawPointer(errorText))
      return curl_easy_perform(handle)
    }
  }

  private func configure(_ request: HTTPClient.Request) {
    curl_set_string(handle, CURLOPT_URL, request.url)
    curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "https,http")
    curl_set_long(handle, CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
    curl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
    // A proxy would connect to addresses that are not checked here.
    curl_set_string(handle, CURLOPT_PROXY, "")
    curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    curl_set_long(handle, CURLOPT_MAXCONNECTS, 1)
    curl_set_long(handle, CURLOPT_TIMEOUT_MS, max(Int(request.timeout * 1000), 1))
    // Otherwise libcurl would wait for a resolver that does not answer, despite the timeout.
    curl_set_long(handle, CURLOPT_QUICK_EXIT, 1)
    if let authoritiesFile {
      curl_set_string(handle, CURLOPT_CAINFO, authoritiesFile)
      // Otherwise libcurl would also trust the authorities in the system's folder.
      curl_set_string(handle, CURLOPT_CAPATH, nil)
    }
    errorText.pointee = 0
    curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
  }

  private func attachCallbacks() {
    let pointer = Unmanaged.passUnretained(self).toOpaque()
    curl_set_pointer(handle, CURLOPT_OPENSOCKETDATA, pointer)
    curl_set_socket_function(handle) { pointer, _, address in CurlConnection.from(pointer)?.openSocket(to: address) ?? CURL_SOCKET_BAD }
    curl_set_pointer(handle, CURLOPT_HEADERDATA, pointer)
    curl_set_header_function(handle) { bytes, size, count, pointer in
      let bytes = UnsafeRawBufferPointer(start: bytes, count: size * count)
      return CurlConnection.from(pointer)?.progress?.reply.addHeader(bytes) == true ? bytes.count : 0
    }
    curl_set_pointer(handle, CURLOPT_WRITEDATA, pointer)
    curl_set_write_function(handle) { bytes, size, count, pointer in
      let bytes = UnsafeRawBufferPointer(start: bytes, count: size * count)
      // Any other count than that of the bytes ends the transfer.
      return CurlConnection.from(pointer)?.progress?.reply.addBody(bytes) == true ? bytes.count : bytes.count + 1
    }
    curl_set_long(handle, CURLOPT_NOPROGRESS, 0)
    curl_set_pointer(handle, CURLOPT_XFERINFODATA, pointer)
    curl_set_progress_function(handle) { pointer, _, _, _, _ in CurlConnection.from(pointer)?.progress?.transfer.isCancelled == true ? 1 : 0 }
  }

  private static func from(_ pointer: UnsafeMutableRawPointer?) -> CurlConnection? {
    pointer.map { Unmanaged<CurlConnection>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Opens a socket for an address that the name resolved to. This is the address that libcurl connects to, so a name that resolves
  /// differently the next time leads nowhere else.
  private func openSocket(to address: UnsafeMutablePointer<curl_sockaddr>?) -> curl_socket_t {
    guard let address, let ip = Self.ipAddress(address), permits(ip) else { return CURL_SOCKET_BAD }
    let target = address.pointee
    return socket(target.family, target.socktype | Int32(SOCK_CLOEXEC.rawValue), target.`protocol`)
  }

  private static func ipAddress(_ address: UnsafePointer<curl_sockaddr>) -> IPAddress? {
    var v6 = in6_addr()
    var v4 = in_addr()
    switch curl_copy_address(address, &v6) {
    case 16: return IPAddress(v6)
    case 4 where curl_copy_address(address, &v4) == 4: return IPAddress(v4)
    default: return nil
    }
  }

  private func permits(_ address: IPAddress) -> Bool {
    guard let progress else { return false }
    let isLoopback = AddressRules.isLoopback(address)
    let isPermitted = progress.isPlain ? isLoopback && progress.isLocal : isLoopback && progress.isLocal || rules.permits(address)
    if isPermitted { self.progress?.connects = true } else { self.progress?.forbidden = address }
    return isPermitted
  }

  private func result(of code: CURLcode, _ transfer: CurlTransfer) -> Result<HTTPClient.Reply, HTTPClient.Failure> {
    guard let progress else { return .failure(.cancelled) }
    var reply = progress.reply.reply
    reply.status = curl_response_code(handle)
    // A reply whose body is longer than what is read of it is a reply.
    if code == CURLE_OK || code == CURLE_WRITE_ERROR && reply.isCut { return .success(reply) }
    if transfer.isCancelled { return .failure(.cancelled) }
    if let address = progress.forbidden, !progress.connects { return .failure(.forbidden(address)) }
    if progress.reply.isHeaderTooLong {
      return .failure(.failed(reason: "the header of the reply is longer than \(transfer.request.replyLimit) bytes"))
    }
    return .failure(.failed(reason: errorText.pointee == 0 ? String(cString: curl_easy_strerror(code)) : String(cString: errorText)))
  }
}
