import NeuralNetwork
import Tensors
import Testing

/// The delta of a training has one SHA-256, whatever the instruction set and the number of threads, and it is the one
/// written here: on every machine, today and with every later version of the kernels. A change of a digest is a change of
/// the numeric contract (Sources/CKernels/README.md): raise `deml_kernels_version` and say why.
@Suite struct BitExactnessTests {
    static let digests: [String: [Int: String]] = [
        "mlp": [
            1: "83f8aa74f4f67f042748e5e9a77d8676d769df1de5e66c953346991e086a2989",
            3: "8a9f6969a5b2ec6054db6640fcbc19685ca1a162751c7b7ea460fff7738f18ab",
            10: "78400e75b77deaeb1285ee9af5ea136698655d8db698ef151de4ff6d6cb5f17b",
            64: "2421858e699c5157f3be4ad7495a3e25e8466ffca5223630961a10a6e7335b14",
            100: "fbc2158a2d786019dcad39d4e3ad9dfa50a43c628cc70bbe5c1804af9f602908",
        ],
        "cnn": [
            1: "f0f306c5e55af36d128572dc8d1808519bf6f48cb15661ecfa0f21e451198ba1",
            3: "6d6de5aa3653c2db7d2b4c7eabef5c6821b5462beb68669ab2736ca24ebe841e",
            10: "cf26aa785d80e31e7822d28149891832f2a5bdbd4bf2fc7b9469b9b8700fcb20",
            64: "b46339c50ae9ae9bdf9ba2e9a9aa4363db3b3c7b2e691f508c14613872af50ed",
            100: "b7604504a099d1ef3c3b88d78f346bb20cc9ef3edd40e2423a36b90fcd61cd26",
        ],
        "everything": [
            1: "faed372e6929a20b589770279847935d0943a7874d67c752d803df98e3e7252e",
            3: "5ff70fc9cd67f5d74ecf7505adb2a0ec4e29de81c0b0dc8bdf247accbf14927c",
            10: "230d13f3e4ff55f7ad48512b3ddf17b8171eb3f15631cf8b53d2d1fefb17b817",
            64: "fb9e7be9fc387a3959091c5b32d1d25c95c85ac7f1836ff1bc56bc4562209f18",
            100: "ff534413ee4be0d895ccdec75cbefc9ab5fa2a38231235967b2d5ff97b087ff8",
        ],
        "transformer": [
            1: "40af7a4b4d7fe5a9abafed5bcca7a959a8f3199b00047240ac62ed5ba48905b4",
            3: "161ca909413450fb54758c3a734f5aee4c68d7b62b7a5e07fc846116b73ec16e",
            10: "4b9cd3a8239bdc808baf9e5d4f7c68653503a1a201d30de659f86709dfddf668",
            64: "0d9a6297025ecabe0ecaedcf61df205b7009364ef9b47ad5724eb47ce6720839",
            100: "4af70cd0bb5f125a8327b1a1fe99e999279a30810c349ab7fe27a8d74b2a4609",
        ],
        "recurrent": [
            1: "34adfe5e75bf2b88a24229b348d6a7b1c101406f773c5b102faf5b27fe3f52e5",
            3: "913ea4a643cda31a6da5540ac928fec668ac071c80cadc2eeac268ef5618ee8a",
            10: "f1efc716572540c4b9474be016f2d5f8fa29d574e3e16f8b9e5f6d7d44d85ea2",
            64: "01aa24b737fb21e78587abb738247c9b219b699a0bcbad141f3586bc5a3e4e2d",
            100: "61b9c7c4afa4ea2781b109eb9a4e1d7394bc7939cd2731b2a56e38331272f8f7",
        ],
    ]

    static func model(_ kind: String) throws -> ModelDescription {
        switch kind {
        case "mlp":
            try ModelDescription(
                input: .init(shape: [1, 12, 12], divideBy: 255),
                layers: [.flatten, .linear(outFeatures: 50), .relu, .dropout(p: 0.2), .linear(outFeatures: 10)],
                loss: .crossEntropy)
        case "cnn":
            try ModelDescription(
                input: .init(shape: [1, 14, 14], mean: [0.1307], standardDeviation: [0.3081]),
                layers: [
                    .conv2d(outChannels: 12, kernelSize: 5, padding: 2), .relu, .maxPool2d(.init(kernelSize: 2)),
                    .conv2d(outChannels: 20, kernelSize: 3, padding: 1), .relu, .maxPool2d(.init(kernelSize: 2)),
                    .flatten, .linear(outFeatures: 33), .relu, .linear(outFeatures: 10),
                ], loss: .crossEntropy)
        case "transformer":
            try ModelDescription(
                input: .init(shape: [36], tokens: 70),
                layers: [
                    .embedding(width: 12, initialDeviation: 0.1), .positionalEmbedding(initialDeviation: 0.1),
                    .residual(layers: [
                        .layerNorm(normalizedShape: [12]),
                        .attention(heads: 3, isCausal: true, dropout: 0.1, isGPT: true),
                    ]),
                    .residual(layers: [
                        .rmsNorm(normalizedShape: [12]), .linear(outFeatures: 20), .gelu, .linear(outFeatures: 12),
                    ]), .attention(heads: 2), .tiedLinear(),
                ], loss: .crossEntropy)
        case "recurrent":
            try ModelDescription(
                input: .init(shape: [11], tokens: 30),
                layers: [
                    .embedding(width: 7), .lstm(hidden: 18, layers: 2, dropout: 0.2, isBidirectional: true),
                    .gru(hidden: 13, isLast: true), .linear(outFeatures: 5),
                ], loss: .crossEntropy)
        default:
            try ModelDescription(
                input: .init(shape: [3, 9, 8]),
                layers: [
                    .conv2d(outChannels: 8, kernelSize: 3, stride: 2, padding: 1), .leakyRelu(),
                    .groupNorm(groups: 4),
                    .residual(layers: [.conv2d(outChannels: 8, kernelSize: 3, padding: 1), .gelu]),
                    .averagePool2d(.init(kernelSize: 2)), .dropout(p: 0.1), .flatten, .layerNorm(), .sigmoid,
                    .linear(outFeatures: 33), .tanh, .linear(outFeatures: 5), .softmax,
                ], loss: .crossEntropy)
        }
    }

    static let optimizers: [String: OptimizerDescription] = [
        "mlp": .adam(learningRate: 0.003),
        "cnn": .sgd(learningRate: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.001),
        "everything": .adamw(learningRate: 0.002),
        "transformer": .adamw(learningRate: 0.003),
        "recurrent": .rmsprop(learningRate: 0.002),
    ]

    @Test(arguments: ["mlp", "cnn", "everything", "transformer", "recurrent"], [1, 3, 10, 64, 100])
    func oneDigest(kind: String, batchSize: Int) throws {
        let model = try Self.model(kind)
        let start = Initializer.weights(for: model, seed: 11)
        var random = RandomSource("bit exactness \(kind)")
        let examples = try random.examples(model, count: 101)
        let options = TrainingOptions(
            epochs: 2, batchSize: batchSize, optimizer: try #require(Self.optimizers[kind]), seed: 7,
            labelSmoothing: kind == "mlp" ? 0.1 : 0)
        for instructionSet in InstructionSet.allCases where instructionSet.isAvailable {
            for threads in [1, 2, 3, 5] {
                let trainer = try Trainer(
                    weights: start, options: options, threads: threads, instructionSet: instructionSet)
                _ = try trainer.train(on: examples)
                let difference = trainer.weights.difference(from: start)
                let digest = sha256Hex(Safetensors(tensors: Weights.tensors(difference, model)).encoded())
                #expect(
                    digest == Self.digests[kind]?[batchSize],
                    "\(kind), batches of \(batchSize), \(instructionSet) with \(threads) threads")
            }
        }
    }
}
