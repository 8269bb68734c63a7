import Datasets
import Federation
import Foundation
import NeuralNetwork
import Tensors
import Yams

/// Which examples a person means, and what is said about them.
public struct DataRequest: Sendable {
    /// A path, or the name of a dataset; nil: the data of the run that the model is from.
    public var data: String?
    /// The column of a table that holds the label; see ``DatasetOptions/labelColumn``.
    public var labelColumn: String?
    /// Part of the examples to test with, where the data has no test set, from 0 to below 1.
    public var testFraction: Double?
    /// What the label column holds, where there is no model that says it.
    public var labels: LabelKind?
    public var header: Bool?
    public var decimal: DecimalMark?
    public var standardize: Bool?
    public var missingValues: [String] = []
    public var ignoreColumns: [String] = []
    public var categoryColumns: [String] = []
    /// How a text is read, as YAML writes ``TextOptions``.
    public var text: String?

    public init(data: String? = nil, labelColumn: String? = nil, testFraction: Double? = nil) {
        self.data = data
        self.labelColumn = labelColumn
        self.testFraction = testFraction
    }

    func options() throws(DeMLError) -> DatasetOptions {
        if let testFraction, !(0..<1).contains(testFraction) {
            throw DeMLError(.usage, "--test-fraction is to be from 0 to below 1, not \(testFraction)")
        }
        var options = DatasetOptions(testFraction: testFraction ?? 0.2, labelColumn: labelColumn)
        options.labels = labels?.labels ?? .automatic
        options.header = header
        options.decimal = decimal?.byte
        options.missingValues = Set(missingValues)
        options.ignoredColumns = ignoreColumns
        options.categoryColumns = categoryColumns
        options.standardizes = standardize ?? false
        if let text {
            do {
                options.text = try YAMLDecoder().decode(
                    TextOptions.self, from: try YAMLFile.parse(text, place: "--text"))
            } catch {
                throw DeMLError(decoding: error, of: "--text")
            }
        }
        return options
    }
}

/// The part of a dataset that is meant.
public enum DatasetPart: String, Sendable, CaseIterable {
    case test, validation, train, all
}

/// A weights file as a person names it: the file, or a run folder, of which the best model is meant.
struct ModelArgument {
    let path: String
    let weights: WeightsFile
    /// What its inputs and outputs stand for; of a file without a schema, what its shapes say.
    let schema: Schema
    let hasSchema: Bool
    /// It is in a file of another tool.
    let isForeign: Bool
    /// The run that it lies in.
    let run: RunFolder?

    init(_ text: String, _ paths: Paths) throws(DeMLError) {
        var path = paths.resolved(text)
        if Files.isDirectory(path) {
            let best = path + "/best.safetensors"
            guard Files.exists(best) else {
                throw DeMLError(
                    .notFound, "the folder has no best.safetensors", place: paths.shown(path),
                    hint: "name a weights file, or the folder of a run")
            }
            path = best
        }
        self.path = path
        let folder = RunFolder(path: Files.parent(of: path) ?? "/")
        run = Files.exists(folder.config) ? folder : nil
        do throws(DeMLError) {
            let file = try WeightsFile.read(path)
            (weights, isForeign) = (file.weights, file.isForeign)
            let found = try Schema(metadata: file.metadata)
            schema = found ?? Schema(of: weights.model)
            hasSchema = found != nil
        } catch {
            throw error.place?.contains(path) == true ? error : error.within(paths.shown(path))
        }
    }
}

extension Schema {
    /// What the shapes of a model say where nobody said more.
    init(of model: ModelDescription) {
        let shape = model.inputShape
        if let tokens = model.input.tokens {
            let names = (0..<(model.loss == .crossEntropy ? model.classes : model.outputShape.reduce(1, *))).map(
                String.init)
            self.init(
                features: .tokens(length: shape[0], vocabulary: tokens == 256 ? nil : (0..<tokens).map(String.init)),
                target: model.loss == .crossEntropy ? .classes(names, column: nil) : .numbers(names.map { "y\($0)" }))
            return
        }
        let outputs = model.outputShape.reduce(1, *)
        self.init(
            features: shape.count == 3 && shape[0] <= 4
                ? .pixels(shape: shape, layout: .channelsLast) : .numbers(shape: shape),
            target: model.loss == .crossEntropy
                ? .classes((0..<outputs).map(String.init), column: nil) : .numbers((0..<outputs).map { "y\($0)" }))
    }
}

extension ModelDescription.Loss {
    /// What such a loss learns.
    var labels: DatasetOptions.Labels { self == .crossEntropy ? .classes : .numbers }
}

/// Number of threads of a command.
enum Threads {
    static func checked(_ threads: Int?) throws(DeMLError) -> Int {
        guard let threads else { return ProcessInfo.processInfo.activeProcessorCount }
        guard threads >= 1, threads <= 1024 else {
            throw DeMLError(.usage, "--threads is to be from 1 to 1024, not \(threads)")
        }
        return threads
    }
}
