// swift-tools-version: 6.1
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]

let package = Package(
    name: "DeML",
    products: [
        .executable(name: "deml-worker", targets: ["deml-worker"]),
        .executable(name: "deml", targets: ["deml"]),
        .library(name: "Golem", targets: ["Golem"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.0.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        // What Golem tells of itself. Hummingbird needs both anyway.
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        // Without its traits: no configuration files, and Foundation's essentials are enough for it.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
    ],
    targets: [
        // What a provider runs, and what both sides share. No network, no Golem.
        .systemLibrary(name: "CZlib", path: "Sources/CZlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CFileSystem", path: "Sources/CFileSystem"),
        .target(
            name: "CKernels", path: "Sources/CKernels",
            // Kernels are optimised in debug builds too: at -O0 intrinsics are a hundred times slower. Contraction is
            // off because which multiply-adds are fused is part of the result (see Sources/CKernels/README.md).
            cSettings: [.unsafeFlags(["-O3", "-ffp-contract=off", "-Wall", "-Wextra"])]),
        .target(name: "ForeignText", path: "Sources/ForeignText", swiftSettings: strict),
        .target(
            name: "Tensors", dependencies: ["CFileSystem", "CKernels", "CZlib", "ForeignText"], path: "Sources/Tensors",
            swiftSettings: strict),
        .target(
            name: "NeuralNetwork", dependencies: ["CKernels", "Tensors"], path: "Sources/NeuralNetwork",
            swiftSettings: strict),
        .target(name: "Jobs", dependencies: ["NeuralNetwork", "Tensors"], path: "Sources/Jobs", swiftSettings: strict),
        .target(
            name: "Worker", dependencies: ["CKernels", "Jobs", "NeuralNetwork", "Tensors"], path: "Sources/Worker",
            swiftSettings: strict),
        .executableTarget(
            name: "deml-worker",
            dependencies: ["Jobs", "Worker", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            path: "Sources/deml-worker", swiftSettings: strict,
            linkerSettings: [
                // One static executable, because the provider's image holds no libc. It links with
                // --static-swift-stdlib (as the image does) and without; without, Swift forgets to name the three
                // libraries to the linker.
                // lld folds identical code, which keeps the image small.
                .unsafeFlags(
                    ["-static-executable", "-use-ld=lld", "-Xlinker", "--icf=all"],
                    .when(platforms: [.linux], configuration: .release)),
                .linkedLibrary("_FoundationCShims", .when(platforms: [.linux], configuration: .release)),
                .linkedLibrary("_FoundationCollections", .when(platforms: [.linux], configuration: .release)),
                .linkedLibrary("swiftSynchronization", .when(platforms: [.linux], configuration: .release)),
            ]),

        // What runs at home.
        // PNG and JPEG by the system's libpng and libjpeg-turbo, behind two functions.
        .target(
            name: "CPictures", path: "requestor/CPictures", cSettings: [.unsafeFlags(["-Wall", "-Wextra"])],
            linkerSettings: [.linkedLibrary("png"), .linkedLibrary("jpeg")]),
        // Deflates the shards of tables ten times as fast as zlib.
        .systemLibrary(name: "CISAL", path: "requestor/CISAL", providers: [.apt(["libisal-dev"])]),
        .target(
            name: "Datasets", dependencies: ["CISAL", "CKernels", "CPictures", "Tensors", "NeuralNetwork"],
            path: "requestor/Datasets",
            exclude: ["README.md", "mnist"], swiftSettings: strict),
        .target(
            // Files of other tools: PyTorch, ONNX, Keras.
            name: "ModelFormats", dependencies: ["ForeignText", "NeuralNetwork", "Tensors"],
            path: "requestor/ModelFormats", exclude: ["README.md"], swiftSettings: strict),
        .target(
            name: "CProcess", path: "requestor/CProcess", cSettings: [.unsafeFlags(["-Wall", "-Wextra"])]),
        .target(name: "Waiting", path: "requestor/Waiting", swiftSettings: strict),
        .target(
            name: "Fleets", dependencies: ["CProcess", "Jobs", "Waiting", "Worker", "NeuralNetwork", "Tensors"],
            path: "requestor/Fleets", swiftSettings: strict),
        .target(
            // What is done with each value of a delta: rules, server optimisers, fingerprints.
            name: "Aggregation", dependencies: ["Tensors"], path: "requestor/Aggregation", swiftSettings: strict),
        .target(
            name: "Federation",
            dependencies: ["Aggregation", "Fleets", "Jobs", "Worker", "Datasets", "NeuralNetwork", "Tensors"],
            path: "requestor/Federation", swiftSettings: strict),
        .target(
            name: "Inference",
            // A finished model's use has readers and a reason to change of its own; from training it takes who works on
            // what and who is believed.
            dependencies: ["Aggregation", "Federation", "Fleets", "Jobs", "NeuralNetwork", "Tensors"],
            path: "requestor/Inference", swiftSettings: strict),
        .target(name: "Reports", path: "requestor/Reports", swiftSettings: strict),
        .target(
            name: "TensorBoard", dependencies: ["Federation", "NeuralNetwork", "Tensors"],
            path: "requestor/TensorBoard", swiftSettings: strict),
        .target(
            name: "CommandLineSupport", dependencies: ["ForeignText", "Reports"], path: "requestor/CommandLineSupport",
            swiftSettings: strict),
        // Apart from Golem, because it is the only thing there that computes.
        .target(name: "SHA3", path: "requestor/SHA3", swiftSettings: strict),
        .target(
            name: "Golem",
            dependencies: [
                "ForeignText", "SHA3", "Waiting",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            path: "requestor/Golem", exclude: ["README.md"], swiftSettings: strict),
        .systemLibrary(name: "CSQLite", path: "requestor/CSQLite", providers: [.apt(["libsqlite3-dev"])]),
        .target(
            name: "GolemFleet",
            // What is remembered of providers is asked by id and faded by time, by several runs at once: SQLite.
            dependencies: ["CSQLite", "Golem", "Fleets", "Federation", "Jobs", "NeuralNetwork", "Tensors", "Waiting"],
            path: "requestor/GolemFleet", exclude: ["README.md"], swiftSettings: strict),
        .target(
            name: "Application",
            dependencies: [
                "CProcess", "GolemFleet", "Reports", "TensorBoard", "Federation", "Inference", "Fleets", "Datasets",
                "ModelFormats", "Jobs", "Worker",
                "NeuralNetwork", "Tensors", .product(name: "Yams", package: "Yams"),
            ],
            path: "requestor/Application", swiftSettings: strict),
        // The page is part of the program: there is no folder that would have to lie beside it.
        .target(
            name: "CPageAssets", path: "requestor/UserInterface/CPageAssets",
            cSettings: [.unsafeFlags(["-std=c23", "-Wall", "-Wextra"])]),
        .target(
            name: "UserInterface",
            dependencies: [
                "Application", "CPageAssets", "Reports", "Golem", "GolemFleet", "Federation", "Fleets", "Datasets",
                "ForeignText",
                "Jobs", "NeuralNetwork", "Tensors",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "requestor/UserInterface", exclude: ["README.md", "Assets", "CPageAssets"],
            swiftSettings: strict),
        .executableTarget(
            name: "deml",
            dependencies: [
                "Application", "CProcess", "CommandLineSupport", "ForeignText", "Reports", "GolemFleet", "Federation",
                "Inference", "Fleets", "Datasets", "NeuralNetwork", "Tensors", "UserInterface",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "requestor/deml", swiftSettings: strict),

        // Damaged files for every reader: a program, because a crash must not end the tests.
        .executableTarget(
            name: "deml-fuzz",
            dependencies: [
                "Datasets", "Jobs", "ModelFormats", "NeuralNetwork", "Tensors",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/Fuzz", swiftSettings: strict),

        // Tests: one target a module.
        .target(name: "TestSupport", dependencies: ["Tensors"], path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(name: "WaitingTests", dependencies: ["Waiting"], swiftSettings: strict),
        .testTarget(name: "ForeignTextTests", dependencies: ["ForeignText"], swiftSettings: strict),
        .testTarget(name: "CKernelsTests", dependencies: ["CKernels"], swiftSettings: strict),
        .testTarget(
            name: "TensorsTests", dependencies: ["CKernels", "Tensors", "TestSupport"], exclude: ["Fixtures"],
            swiftSettings: strict),
        .testTarget(
            name: "NeuralNetworkTests",
            dependencies: [
                "CAllocationCounter", "CKernels", "NeuralNetwork", "Tensors", .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),
        .target(name: "CAllocationCounter", path: "Tests/CAllocationCounter"),
        .testTarget(
            name: "FleetsTests",
            dependencies: ["Fleets", "ForeignText", "Jobs", "Worker", "NeuralNetwork", "Tensors", "TestSupport"],
            swiftSettings: strict),
        .testTarget(name: "JobsTests", dependencies: ["Jobs", "NeuralNetwork", "Tensors"], swiftSettings: strict),
        .testTarget(
            name: "WorkerTests", dependencies: ["Jobs", "Worker", "NeuralNetwork", "Tensors"], swiftSettings: strict),
        .testTarget(
            name: "DatasetsTests",
            dependencies: ["Datasets", "NeuralNetwork", "Tensors", "TestSupport"], exclude: ["Fixtures"],
            swiftSettings: strict),
        .testTarget(
            name: "ModelFormatsTests",
            dependencies: ["ModelFormats", "NeuralNetwork", "Tensors"], exclude: ["Fixtures"], swiftSettings: strict),
        .testTarget(name: "ReportsTests", dependencies: ["Reports"], swiftSettings: strict),
        .testTarget(
            name: "TensorBoardTests", dependencies: ["TensorBoard", "Federation", "Tensors"], swiftSettings: strict),
        .testTarget(
            name: "ApplicationTests", dependencies: ["Application", "Federation", "Inference", "Tensors"],
            swiftSettings: strict),
        .testTarget(
            name: "UserInterfaceTests",
            dependencies: [
                "UserInterface", "Application", "Federation", "Fleets", "Jobs", "Reports", "Tensors",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "CommandLineTests",
            dependencies: [
                "deml", "CommandLineSupport", "Reports",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            exclude: ["Golden"], swiftSettings: strict),
        .testTarget(
            name: "AggregationTests", dependencies: ["Aggregation", "Tensors", "TestSupport"], exclude: ["Reference"],
            swiftSettings: strict),
        .testTarget(
            name: "FederationTests",
            dependencies: [
                "Aggregation", "Federation", "Fleets", "Datasets", "Jobs", "Worker", "NeuralNetwork", "Tensors",
                "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "InferenceTests",
            dependencies: ["Inference", "Federation", "Fleets", "Jobs", "NeuralNetwork", "Tensors"],
            swiftSettings: strict),
        .testTarget(
            name: "GolemFleetTests",
            dependencies: [
                "GolemFleet", "Golem", "Fleets", "Federation", "Jobs", "NeuralNetwork", "Tensors", "Waiting",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "GolemTests",
            dependencies: [
                "ForeignText", "Golem", "SHA3", "Waiting",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: strict),
    ]
)
