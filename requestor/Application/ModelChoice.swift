import Datasets
import Federation
import Foundation
import NeuralNetwork
import Tensors

/// A small sensible network for a dataset, for who has none.
struct ModelChoice {
    let description: ModelDescription
    private let isPicture: Bool
    private let isText: Bool
    /// There is something to learn from.
    private let isLarge: Bool

    /// - Throws: `shape` for data that no network here suits.
    init(_ dataset: Dataset) throws(DeMLError) {
        let shape = dataset.train.exampleShape
        let loss = dataset.defaultLoss
        isText = dataset.schema.tokens != nil
        isLarge = dataset.train.count >= 2000
        if let tokens = dataset.schema.tokens {
            isPicture = false
            description = try Self.transformer(
                length: shape[0], tokens: tokens, outputs: dataset.schema.outputs, isPerToken: dataset.labelsTokens,
                isLarge: isLarge)
            return
        }
        let outputs = max(dataset.schema.outputs, loss == .crossEntropy ? 2 : 1)
        isPicture = shape.count == 3 && shape[0] <= 4 && shape[1] >= 8 && shape[2] >= 8
        let input =
            "{\"shape\":[\(shape.map(String.init).joined(separator: ","))]"
            + (dataset.train.x.dtype == .u8 && dataset.train.largestMagnitude > 1 ? ",\"divide_by\":255}" : "}")
        func linear(_ size: Int) -> String { "{\"type\":\"linear\",\"out_features\":\(size)}" }
        let relu = "{\"type\":\"relu\"}"
        var layers: [String]
        if isPicture {
            func convolution(_ channels: Int) -> [String] {
                [
                    "{\"type\":\"conv2d\",\"out_channels\":\(channels),\"kernel_size\":3,\"padding\":1}", relu,
                    "{\"type\":\"max_pool2d\",\"kernel_size\":2}",
                ]
            }
            layers = convolution(16) + convolution(32) + ["{\"type\":\"flatten\"}", linear(outputs)]
        } else {
            let inputs = shape.reduce(1, *)
            let width = isLarge ? 128 : 32
            layers = shape.count > 1 ? ["{\"type\":\"flatten\"}"] : []
            layers += inputs > 4096 ? [linear(width), relu] : [linear(width), relu, linear(width), relu]
            layers.append(linear(outputs))
        }
        if loss != .crossEntropy, let target = Self.spread(dataset.train.y, outputs) {
            // The layers before learn numbers around 0 and 1, whatever the targets' unit.
            func list(_ values: [Double]) -> String { values.map { "\($0)" }.joined(separator: ",") }
            layers.append(
                "{\"type\":\"rescaling\",\"scale\":[\(list(target.deviation))],\"offset\":[\(list(target.mean))]}")
        }
        description = try ModelDescription(
            json: "{\"input\":\(input),\"layers\":[\(layers.joined(separator: ","))],\"loss\":\"\(loss.name)\"}")
    }

    /// Mean and standard deviation of each target in the training rows, to four digits.
    private static func spread(
        _ targets: Tensor, _ outputs: Int
    ) -> (mean: [Double], deviation: [Double])? {
        guard let values = try? targets.floats(), !values.isEmpty, values.count % outputs == 0 else { return nil }
        var (mean, deviation): ([Double], [Double]) = ([], [])
        for output in 0..<outputs {
            let spread = Spread(stride(from: output, to: values.count, by: outputs).map { Double(values[$0]) })
            mean.append(short(spread.mean))
            deviation.append(short(spread.deviation))
        }
        return (mean, deviation)
    }

    /// A number to four digits.
    private static func short(_ value: Double) -> Double { Double(String(format: "%.3e", value)) ?? value }

    /// A small transformer, before each of its parts a norm; for one answer about a whole text the mean of its tokens would
    /// need another layer: it is the last hidden state of a GRU.
    private static func transformer(
        length: Int, tokens: Int, outputs: Int, isPerToken: Bool, isLarge: Bool
    ) throws(DeMLError) -> ModelDescription {
        let width = isLarge ? 64 : 32
        let input = ModelDescription.Input(shape: [length], tokens: tokens)
        guard isPerToken else {
            return try ModelDescription(
                input: input,
                layers: [
                    .embedding(width: width), .gru(hidden: width, isLast: true), .linear(outFeatures: max(2, outputs)),
                ], loss: .crossEntropy)
        }
        let norm = Layer.layerNorm(normalizedShape: [width])
        let blocks = [Layer](
            [
                .residual(layers: [norm, .attention(heads: 4, isCausal: true, isGPT: true)]),
                .residual(layers: [norm, .linear(outFeatures: 4 * width), .gelu, .linear(outFeatures: width)]),
            ])
        return try ModelDescription(
            input: input,
            layers: [.embedding(width: width, initialDeviation: 0.02), .positionalEmbedding(initialDeviation: 0.02)]
                + blocks + (isLarge ? blocks : []) + [norm, .linear(outFeatures: max(2, outputs))], loss: .crossEntropy)
    }

    /// Training that suits the network, where a person has said nothing else.
    func settle(_ configuration: inout RunConfiguration, given: Set<String>) {
        if isText, !given.contains("optimizer"), !given.contains("learning_rate") {
            configuration.training.optimizer = .adamw
            configuration.training.learningRate = 0.002
            if given.isDisjoint(with: ["rounds", "local_epochs", "local_steps"]) {
                configuration.federation.rounds = 10
                configuration.training.localEpochs = 2
            }
        } else if !given.contains("optimizer"), !given.contains("learning_rate") {
            if isPicture || description.loss != .crossEntropy {
                configuration.training.optimizer = .adam
                configuration.training.learningRate = isPicture ? 0.001 : 0.002
            } else {
                settleClassesOfTable(&configuration, given: given)
            }
        }
        if !isText, given.isDisjoint(with: ["rounds", "local_epochs", "local_steps"]) {
            // Short rounds where they are some dozen steps nevertheless; more of them for more workers with less each.
            let isShort = isLarge && !isPicture
            configuration.federation.rounds = isShort ? min(100, max(30, 10 * configuration.federation.workers)) : 10
            configuration.training.localEpochs = isShort ? 2 : 5
        }
        if !given.contains("batch_size") { configuration.training.batchSize = 32 }
        if !given.contains("fleet") { configuration.machines.fleet = .simulated }
    }

    /// Classes of a table's rows: momentum instead of Adam, which begins anew in every round with steps of full size, on
    /// shards of fifty rows away from what all shards have in common. Long gradients are those of outliers.
    private func settleClassesOfTable(_ configuration: inout RunConfiguration, given: Set<String>) {
        configuration.training.optimizer = .sgd
        configuration.training.learningRate = 0.05
        if !given.contains("momentum") { configuration.training.momentum = 0.9 }
        if !given.contains("clip_grad_norm") { configuration.training.clipGradNorm = 1 }
    }

    /// The settings as a file that `deml train` takes.
    func yaml(_ configuration: RunConfiguration) -> String {
        var lines = ["model:"] + Self.yaml(description).map { "  " + $0 }
        lines += [
            "fleet: \(configuration.machines.fleet.rawValue)", "workers: \(configuration.federation.workers)",
            "rounds: \(configuration.federation.rounds)", "local_epochs: \(configuration.training.localEpochs)",
            "batch_size: \(configuration.training.batchSize)",
            "optimizer: \(configuration.training.optimizer.rawValue)",
            "learning_rate: \(configuration.training.learningRate)",
        ]
        if configuration.training.momentum != 0 { lines.append("momentum: \(configuration.training.momentum)") }
        if let norm = configuration.training.clipGradNorm { lines.append("clip_grad_norm: \(norm)") }
        return lines.joined(separator: "\n")
    }

    static func yaml(_ description: ModelDescription) -> [String] {
        var input = "shape: [\(description.inputShape.map(String.init).joined(separator: ", "))]"
        if let tokens = description.input.tokens { input += ", tokens: \(tokens)" }
        if description.input.divideBy != 1 { input += ", divide_by: \(Int(description.input.divideBy))" }
        var lines = ["input: {\(input)}", "layers:"]
        lines += description.layers.map { layer in
            // The canonical JSON of a layer is YAML; without quotes it is what a person would write.
            "  - " + canonicalLayer(layer)
        }
        lines.append("loss: \(description.loss.name)")
        return lines
    }

    private static func canonicalLayer(_ layer: Layer) -> String {
        let json = NeuralNetwork.canonicalJSON(layer)
        guard !json.contains("[{") else {
            // Layers within: the same without sorting.
            return json.replacing("\"", with: "").replacing(":", with: ": ").replacing(",", with: ", ")
        }
        let body = json.dropFirst().dropLast().split(separator: ",").map { pair in
            pair.replacing("\"", with: "").replacing(":", with: ": ")
        }
        let type = body.filter { $0.hasPrefix("type: ") }
        return "{" + (type + body.filter { !$0.hasPrefix("type: ") }).joined(separator: ", ") + "}"
    }
}
