import Testing
import Text

@testable import OutgoingHTTP

@Suite struct `A request to another server` {
  @Test(
    arguments: [
      "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "168.63.129.16", "169.254.169.254", "172.16.0.1",
      "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::",
      "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::8.8.8.8", "100::1",
      "2001::1", "2001:db8::1", "2002:a00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
    ])
  func `connects to no private, local or reserved address, in any spelling`(_ text: String) throws {
    #expect(!AddressRules().permits(try #require(IPAddress(text))))
  }

  @Test(
    arguments: [
      "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1", "193.0.0.1",
      "223.255.255.255",
      "::ffff:1.1.1.1", "2606:4700::1111", "2a00:1450::1", "64:ff9b::1.1.1.1",
    ])
  func `connects to public addresses, also through NAT64`(_ text: String) throws { #expect(AddressRules().permits(try #require(IPAddress(text)))) }

  @Test func `connects to a listed network, and to no other`() throws {
    let rules = AddressRules(allowed: [try #require(IPNetwork("10.1.0.0/16")), try #require(IPNetwork("fd00::7"))])
    for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7"] { #expect(rules.permits(try #require(IPAddress(text)))) }
    for text in ["10.2.0.1", "fd00::8", "127.0.0.1"] { #expect(!rules.permits(try #require(IPAddress(text)))) }
  }
}
