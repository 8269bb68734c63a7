import Foundation
import NeuralNetwork
import Tensors
import Testing

/// Class weights against torch's CrossEntropyLoss. The numbers come from Tests/Reference/make_class_weights.py; tolerance:
/// 1e-5, relative above 1.
@Suite struct ClassWeightTests {
    struct Case: Decodable {
        var name: String
        var classes: Int
        var weights: [Double]
        var labelSmoothing: Double
        var logits: [Float]
        var labels: [Int64]
        var loss: Double
        var gradient: [Float]
    }

    static func cases() throws -> [Case] {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(
            [Case].self, from: Data(contentsOf: folder.appending(path: "Reference/class_weights.json")))
    }

    /// Logits as they are: a linear layer that is the identity.
    private static func identity(_ classes: Int) throws -> Weights {
        let model = try ModelDescription(
            input: .init(shape: [classes]), layers: [.linear(outFeatures: classes)], loss: .crossEntropy)
        let matrix = (0..<classes * classes).map { Float($0 % (classes + 1) == 0 ? 1 : 0) }
        return try Weights(model: model, parameters: matrix + [Float](repeating: 0, count: classes))
    }

    /// The gradient by the bias is the sum of the logits' gradients: one step of SGD shows it, the loss stands beside it.
    @Test func asTorch() throws {
        let cases = try Self.cases()
        #expect(cases.count == 7)
        for set in cases {
            let weights = try Self.identity(set.classes)
            let examples = try Examples(
                x: Tensor(shape: [set.labels.count, set.classes], floats: set.logits),
                y: Tensor(shape: [set.labels.count], int64s: set.labels), for: weights.model)
            let network = try Network(
                model: weights.model, purpose: .gradients, batchCapacity: examples.count, threads: 1)
            let objective = Objective(network, labelSmoothing: set.labelSmoothing, classWeights: set.weights)
            network.load(weights.parameters)
            try ExampleBatch(network, objective).load(examples.count, of: examples) { $0 }
            network.forward()
            let loss = objective.compare().loss / Double(examples.count)
            #expect(abs(loss - set.loss) <= 1e-5 * max(1, abs(set.loss)), "\(set.name): loss \(loss)")
            let gradient = Array(
                UnsafeBufferPointer(start: network.output.gradient, count: set.gradient.count))
            #expect(relativeError(gradient, set.gradient) < 1e-5, "\(set.name): \(gradient)")
        }
    }

    /// Weights of 1 are no weights, up to rounding; a batch of classes that do not count changes nothing.
    @Test func trainingWithWeights() throws {
        let model = try BitExactnessTests.model("mlp")
        var random = RandomSource("class weights")
        let examples = try random.examples(model, count: 60)
        let start = Initializer.weights(for: model, seed: 2)
        func trained(_ weights: [Double]?, threads: Int = 1) throws -> [Float] {
            let trainer = try Trainer(
                weights: start,
                options: TrainingOptions(
                    epochs: 2, batchSize: 16, optimizer: .sgd(learningRate: 0.1), classWeights: weights),
                threads: threads)
            _ = try trainer.train(on: examples)
            return trainer.weights.parameters
        }
        let plain = try trained(nil)
        #expect(relativeError(try trained([Double](repeating: 1, count: 10)), plain) < 1e-4)
        let heavy = (0..<10).map { $0 == 3 ? 5.0 : 1.0 }
        let weighted = try trained(heavy)
        #expect(relativeError(weighted, plain) > 1e-3)
        #expect(try trained(heavy, threads: 3) == weighted)
        let labels = try #require(examples.labels)
        let none = (0..<10).map { labels.contains($0) ? 0.0 : 1.0 }
        if none.contains(1) { #expect(try trained(none) == start.parameters) }
    }

    @Test func whatMakesNoSenseIsRefused() throws {
        let classifier = try BitExactnessTests.model("mlp")
        func options(_ weights: [Double]) -> TrainingOptions { TrainingOptions(classWeights: weights) }
        for (weights, message) in [
            ([1, 2], "2 numbers"), ([Double](repeating: 0, count: 10), "no class"), ([], "0 numbers"),
            ([Double](repeating: 1, count: 9) + [-1], "-1.0 of class 9"),
            ([Double](repeating: 1, count: 9) + [.nan], "nan of class 9"),
        ] {
            let error = #expect(throws: DeMLError.self) { try options(weights).validate(for: classifier) }
            #expect(error?.message.contains(message) == true, "\(String(describing: error))")
        }
        let regression = try ModelDescription(
            json: #"{"input":{"shape":[3]},"layers":[{"type":"linear","out_features":2}],"loss":"mse"}"#)
        let error = #expect(throws: DeMLError.self) { try options([1, 1]).validate(for: regression) }
        #expect(error?.message.contains("not of mse") == true)
    }

    /// Options that say nothing of weights and augmentation have the text they always had.
    @Test func theTextOfOptionsStays() throws {
        let plain = TrainingOptions().canonicalJSON
        #expect(!plain.contains("class_weights") && !plain.contains("augmentation"))
        #expect(TrainingOptions(augmentation: Augmentation()).canonicalJSON == plain)
        let options = TrainingOptions(
            classWeights: [1, 0.5], augmentation: Augmentation(shift: 2, flip: true, noise: 0.25))
        #expect(options.canonicalJSON.contains(#""augmentation":{"flip":true,"noise":0.25,"shift":2}"#))
        #expect(options.canonicalJSON.contains(#""class_weights":[1,0.5]"#))
        #expect(try TrainingOptions(json: options.canonicalJSON) == options)
    }
}
