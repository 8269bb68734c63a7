import Datasets
import Foundation
import NeuralNetwork
import Tensors

/// Which examples a person means.
public struct DataRequest: Sendable {
    /// A path, or the name of a dataset.
    public var data: String
    /// The column of a CSV file that holds the label.
    public var labelColumn: String?
    /// Part of the examples to test with, where the data has no test set, from 0 to below 1.
    public var testFraction: Double

    public init(data: String = "mnist", labelColumn: String? = nil, testFraction: Double = 0.2) {
        self.data = data
        self.labelColumn = labelColumn
        self.testFraction = testFraction
    }

    func path(_ paths: Paths) throws(DeMLError) -> String {
        try paths.dataset(data, from: paths.workingFolder)
    }

    func dataset(_ paths: Paths) throws(DeMLError) -> Dataset {
        guard (0..<1).contains(testFraction) else {
            throw DeMLError(.usage, "--test-fraction is to be from 0 to below 1, not \(testFraction)")
        }
        return try Dataset(
            path: path(paths), options: DatasetOptions(testFraction: testFraction, labelColumn: labelColumn))
    }
}

/// The part of a dataset that is meant.
public enum DatasetPart: String, Sendable {
    case test, train

    func part(of dataset: Dataset) throws(DeMLError) -> Dataset.Part {
        switch self {
        case .train: return dataset.train
        case .test:
            guard let test = dataset.test else {
                throw DeMLError(.missing, "the dataset has no test set", place: dataset.name, hint: "use --split train")
            }
            return test
        }
    }
}

/// A weights file as a person names it: the file, or a run folder, of which the best model is meant.
struct ModelArgument {
    let path: String
    let weights: WeightsFile

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
        do throws(DeMLError) {
            // Mapped: a model that somebody names is complete, and is in memory once instead of three times.
            weights = try WeightsFile(Safetensors(contentsOf: path, mapping: true))
        } catch {
            throw error.place?.contains(path) == true ? error : error.within(paths.shown(path))
        }
    }
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
