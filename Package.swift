// swift-tools-version: 6.2
import PackageDescription

/// Settings for every target in this package, in addition to Swift 6 mode, which the tools version selects: imports are
/// internal by default and apply only to the file that declares them, and a warning fails the build.
let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

/// Keeps releases small in memory. They have one short table instead of 140,000 relocation entries, and no exported symbol
/// names, because nothing links to the program. Otherwise the process would read all of that at startup and keep it in
/// memory. This needs glibc 2.36, which Debian 12 has.
let small: [LinkerSetting] = [
  .unsafeFlags(
    ["-use-ld=lld"] + ["-z", "pack-relative-relocs", "--no-export-dynamic", "--icf=safe"].flatMap { ["-Xlinker", $0] },
    .when(platforms: [.linux], configuration: .release))
]

/// Tests read better if they need not import every module whose members they use.
let testing: [SwiftSetting] = [.enableUpcomingFeature("ExistentialAny"), .treatAllWarnings(as: .error)]

/// What the fuzz targets call.
let fuzzed: [Target.Dependency] = [
  "App", "Credentials", "HTTPAPI", "Localization", "Mail", "PasswordReset", "PostgresStore", "PwnedPasswords", "Text",
]

// A target exists to forbid an import: docs/architecture.md draws the arrows, and the build's
// `--explicit-target-dependency-import-check error` enforces them.
let package = Package(
  name: "password-reset",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "password-reset", targets: ["App"]),
    // For Swift applications that use Hummingbird; Examples/HummingbirdSite is one.
    .library(
      name: "PasswordResetKit", targets: ["PasswordResetKit", "PasswordReset", "PwnedPasswords", "Mail", "SQLiteStore", "Webhooks"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
  ],
  targets: [
    .systemLibrary(name: "CArgon2", pkgConfig: "libargon2", providers: [.apt(["libargon2-dev"])]),
    .systemLibrary(name: "CCSV", providers: [.apt(["libcsv-dev"])]),
    .systemLibrary(name: "CCrypt", pkgConfig: "libcrypt", providers: [.apt(["libcrypt-dev"])]),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(name: "CGMime", pkgConfig: "gmime-3.0", providers: [.apt(["libgmime-3.0-dev"])]),
    .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),

    .target(name: "CEmbeddedFiles"),
    .target(name: "Text", swiftSettings: strict),
    .target(
      name: "Credentials",
      dependencies: [
        "CArgon2", "CCrypt", "CEmbeddedFiles", "Text",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "CryptoExtras", package: "swift-crypto"),
      ],
      exclude: ["common-passwords.txt"],
      swiftSettings: strict
    ),
    .target(
      name: "Localization",
      dependencies: ["CEmbeddedFiles", "Text"],
      exclude: ["Languages"],
      swiftSettings: strict
    ),
    .target(name: "Prometheus", swiftSettings: strict),
    .target(
      name: "Concurrency",
      dependencies: ["Prometheus", .product(name: "NIOPosix", package: "swift-nio")],
      swiftSettings: strict
    ),
    .target(
      name: "PasswordReset",
      dependencies: [
        "Concurrency", "Credentials", "Prometheus", "Text",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict
    ),
    .target(
      name: "SQLiteStore",
      dependencies: [
        "PasswordReset", "Credentials",
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "GRDBSQLite", package: "GRDB.swift"),
      ],
      swiftSettings: strict
    ),
    .target(name: "PostgresStore", dependencies: ["CLibPQ", "Credentials", "PasswordReset"], swiftSettings: strict),
    .target(
      name: "Mail",
      dependencies: [
        "Concurrency", "Localization", "PasswordReset", "CCurl", "CEmbeddedFiles", "CGMime",
        .product(name: "Mustache", package: "swift-mustache"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      exclude: ["Templates"],
      swiftSettings: strict
    ),
    .target(name: "OutgoingHTTP", dependencies: ["CCurl", "Concurrency", "Text"], swiftSettings: strict),
    .target(
      name: "PwnedPasswords",
      dependencies: [
        "Credentials", "OutgoingHTTP", "PasswordReset", "Prometheus", "Text",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict
    ),
    .target(
      name: "Webhooks",
      dependencies: [
        "Credentials", "OutgoingHTTP", "PasswordReset", "Text",
        .product(name: "Crypto", package: "swift-crypto"),
      ],
      swiftSettings: strict
    ),
    .target(
      name: "ConnectionGuards",
      dependencies: [
        "Text",
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HummingbirdHTTP2", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCertificateReloading", package: "swift-nio-extras"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOExtras", package: "swift-nio-extras"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict
    ),
    .target(
      name: "HTTPAPI",
      dependencies: [
        "CEmbeddedFiles", "ConnectionGuards", "Credentials", "Localization", "PasswordReset", "Prometheus", "Text",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ],
      swiftSettings: strict
    ),
    .target(
      name: "PasswordResetKit",
      dependencies: [
        "Concurrency", "Credentials", "HTTPAPI", "Localization", "Mail", "PasswordReset", "Prometheus",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict
    ),
    .executableTarget(
      name: "App",
      dependencies: [
        "CCSV", "CCurl", "Concurrency", "ConnectionGuards", "Credentials", "HTTPAPI", "Localization", "Mail", "PasswordReset", "PasswordResetKit",
        "PostgresStore", "Prometheus", "PwnedPasswords", "SQLiteStore", "Text", "Webhooks",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: strict,
      linkerSettings: small
    ),
    .executableTarget(
      name: "HummingbirdSite",
      dependencies: [
        "Mail", "PasswordReset", "PasswordResetKit", "SQLiteStore",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
      ],
      path: "Examples/HummingbirdSite",
      resources: [.embedInCode("page.html")],
      swiftSettings: strict
    ),
    .executableTarget(
      name: "BareServer",
      dependencies: ["Credentials", .product(name: "Hummingbird", package: "hummingbird")],
      path: "Benchmarks/BareServer",
      swiftSettings: strict,
      linkerSettings: small
    ),
    .executableTarget(
      name: "Timing",
      dependencies: [
        "ConnectionGuards", "Credentials", "HTTPAPI", "Mail", "PasswordReset", "PasswordResetKit", "PostgresStore", "SQLiteStore",
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Benchmarks/Timing",
      exclude: ["judge.py", "measure.py"],
      swiftSettings: strict,
      linkerSettings: small
    ),

    .target(name: "CFaultyDisk", path: "Tests/CFaultyDisk", linkerSettings: [.linkedLibrary("sqlite3")]),
    .executableTarget(
      name: "Simulate", dependencies: ["Simulation"], path: "Benchmarks/Simulate", swiftSettings: strict, linkerSettings: small),

    .target(
      name: "Simulation",
      dependencies: [
        "Concurrency", "Credentials", "PasswordReset", "Prometheus", "Text",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
      ],
      path: "Tests/Simulation",
      swiftSettings: strict
    ),
    .target(name: "TestSupport", dependencies: ["Credentials", "PasswordReset"], path: "Tests/TestSupport", swiftSettings: strict),
    .testTarget(
      name: "CredentialsTests",
      dependencies: ["Credentials", "Text"],
      exclude: ["make_allauth_vectors.py", "make_vectors.py"],
      resources: [.copy("allauth_vectors.json"), .copy("vectors.json")],
      swiftSettings: testing
    ),
    .testTarget(
      name: "JourneyTests",
      dependencies: [
        "App", "CFaultyDisk", "Credentials", "HTTPAPI", "Localization", "Mail", "OutgoingHTTP", "PasswordReset", "PostgresStore", "Prometheus",
        "PwnedPasswords", "SQLiteStore", "Simulation", "TestSupport", "Text", "Webhooks",
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTesting", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "Mustache", package: "swift-mustache"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "Yams", package: "Yams"),
      ],
      resources: [.copy("json")],
      swiftSettings: testing
    ),
    .testTarget(
      name: "FuzzTests", dependencies: fuzzed, path: "Tests/Fuzz", exclude: ["CLibFuzzer", "Main.swift", "corpus", "run"], swiftSettings: testing),
  ],
  // For `#embed`.
  cLanguageStandard: .gnu2x
)

// `make fuzz` sets FUZZ to the path of libFuzzer. Only a test can link an executable, and no test can have libFuzzer's loop, so App becomes a
// library in this build.
if let libFuzzer = Context.environment["FUZZ"] {
  package.products = []
  package.targets.removeAll { $0.isTest || $0.type == .executable && $0.name != "App" }
  package.targets = package.targets.map { target in
    guard target.type == .executable else { return target }
    // Otherwise its main function would be that of the fuzzer.
    let settings = strict + [.unsafeFlags(["-Xfrontend", "-entry-point-function-name", "-Xfrontend", "App_main"])]
    return .target(name: target.name, dependencies: target.dependencies, swiftSettings: settings)
  }
  package.targets += [
    .systemLibrary(name: "CLibFuzzer", path: "Tests/Fuzz/CLibFuzzer"),
    .executableTarget(
      name: "Fuzz", dependencies: fuzzed + ["CLibFuzzer"], path: "Tests/Fuzz", exclude: ["CLibFuzzer", "FuzzTests.swift", "corpus", "run"],
      swiftSettings: testing,
      linkerSettings: [.linkedLibrary("stdc++"), .linkedLibrary("m"), .unsafeFlags(["-use-ld=lld", "-Xlinker", libFuzzer])]),
  ]
}
