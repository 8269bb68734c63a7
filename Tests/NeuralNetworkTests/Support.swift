import Foundation
import NeuralNetwork
import Tensors
import Testing

/// A file that Tests/Reference/make_networks.py or make_training.py wrote: what PyTorch computes for one model.
struct Reference {
    let name: String
    let file: Safetensors
    let model: ModelDescription
    /// By the optimiser's name in the script.
    let options: [String: TrainingOptions]

    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Reference").path

    static func names(in kind: String = "networks") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(kind)")
            .filter { $0.hasSuffix(".safetensors") }.map { String($0.dropLast(".safetensors".count)) }.sorted()
    }

    init(_ name: String, in kind: String = "networks") throws {
        self.name = name
        file = try Safetensors(contentsOf: "\(Self.folder)/\(kind)/\(name).safetensors")
        model = try ModelDescription(json: file.metadata["model"] ?? "")
        options = try JSONDecoder().decode(
            [String: TrainingOptions].self, from: Data((file.metadata["options"] ?? "").utf8))
    }

    /// All parameters out of the tensors `group/NAME`.
    func parameters(_ group: String) throws -> [Float] {
        let prefix = group + "/"
        let tensors = file.tensors.filter { $0.name.hasPrefix(prefix) }
            .map { (name: String($0.name.dropFirst(prefix.count)), tensor: $0.tensor) }
        return try Weights.collect(Safetensors(tensors: tensors), model)
    }

    func tensor(_ name: String) throws -> Tensor {
        guard let tensor = file[name] else { throw DeMLError(.missing, "no tensor \(name) in \(self.name)") }
        return tensor
    }

    func examples() throws -> Examples {
        try Examples(x: tensor("x"), y: tensor("y"), for: model)
    }
}

/// A network whose gradients can be looked at.
struct Probe {
    let network: Network
    let objective: Objective
    let examples: Examples

    init(
        _ model: ModelDescription, _ examples: Examples, labelSmoothing: Double = 0, threads: Int = 1,
        instructionSet: InstructionSet? = nil
    ) throws {
        network = try Network(
            model: model, purpose: .gradients, batchCapacity: examples.count, threads: threads,
            instructionSet: instructionSet)
        objective = Objective(network, labelSmoothing: labelSmoothing)
        self.examples = examples
        network.pass.seed = 3
        network.pass.epoch = 1
        network.pass.step = 2
    }

    /// Runs the first `batch` examples forward; the mean loss.
    func loss(_ parameters: [Float], batch: Int) -> Double {
        network.load(parameters)
        do {
            try ExampleBatch(network, objective).load(batch, of: examples) { $0 }
        } catch {
            Issue.record(error)
        }
        network.forward()
        return objective.compare().loss / Double(batch)
    }

    func outputs(batch: Int) -> [Float] {
        Array(UnsafeBufferPointer(start: network.output.values, count: batch * network.output.size))
    }

    /// Gradients of the last loss.
    func gradients() -> [Float] {
        network.backward()
        return network.gradientValues()
    }
}

/// The largest difference, as a share of the largest expected value.
func relativeError(_ actual: some Collection<Float>, _ expected: some Collection<Float>) -> Double {
    precondition(actual.count == expected.count)
    let scale = expected.reduce(0) { max($0, abs($1)) }
    let error = zip(actual, expected).reduce(0) { max($0, abs(Double($1.0) - Double($1.1))) }
    guard error.isFinite, zip(actual, expected).allSatisfy({ $0.0.isFinite }) else { return .infinity }
    return scale == 0 ? error : error / Double(scale)
}

extension ModelDescription {
    /// The slices of a flat array that belong to each parameter.
    func slices(_ values: [Float]) -> [(name: String, values: ArraySlice<Float>)] {
        var start = 0
        return parameters.map { parameter in
            defer { start += parameter.count }
            return (parameter.name, values[start..<start + parameter.count])
        }
    }
}

/// Random numbers for tests.
struct RandomSource {
    private var generator: SeededGenerator

    init(_ purpose: String, _ number: Int = 0) {
        generator = SeededGenerator(seed: 1, purpose: purpose, UInt32(number))
    }

    mutating func integer(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + generator.uniform(below: range.count)
    }

    mutating func normals(_ count: Int) -> [Float] {
        (0..<count).map { _ in Float(generator.normal()) }
    }

    mutating func choice<Element>(_ elements: [Element]) -> Element {
        elements[generator.uniform(below: elements.count)]
    }

    /// Random examples for a model.
    mutating func examples(_ model: ModelDescription, count: Int) throws -> Examples {
        let numbers = count * model.inputShape.reduce(1, *)
        let x =
            if let tokens = model.input.tokens {
                Tensor(
                    shape: [count] + model.inputShape, int64s: (0..<numbers).map { _ in Int64(integer(0...tokens - 1)) }
                )
            } else {
                Tensor(shape: [count] + model.inputShape, floats: normals(numbers))
            }
        let outputs = model.outputShape.reduce(1, *)
        let labels = model.labelsPerExample
        let y =
            model.loss == .crossEntropy
            ? Tensor(
                shape: labels == 1 ? [count] : [count, labels],
                int64s: (0..<count * labels).map { _ in Int64(integer(0...model.classes - 1)) })
            : Tensor(
                shape: [count] + model.outputShape,
                floats: normals(count * outputs).map { model.loss == .binaryCrossEntropy ? min(abs($0), 1) : $0 })
        return try Examples(x: x, y: y, for: model)
    }
}
