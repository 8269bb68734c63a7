// swift-tools-version: 6.1
import PackageDescription

// Programs of others would write: .package(url: "https://…/DeML", branch: "main")
let golem = Target.Dependency.product(name: "Golem", package: "DeML")
let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]

let package = Package(
    name: "golem-examples",
    dependencies: [.package(name: "DeML", path: "../..")],
    targets: [
        .executableTarget(name: "hello", dependencies: [golem], swiftSettings: strict),
        .executableTarget(name: "batch", dependencies: [golem], swiftSettings: strict),
        .executableTarget(name: "service", dependencies: [golem], swiftSettings: strict),
        .executableTarget(name: "market", dependencies: [golem], swiftSettings: strict),
    ]
)
