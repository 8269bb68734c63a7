import ArgumentParser
import Datasets
import NeuralNetwork
import Tensors

/// Which examples a command works on.
struct DataOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A folder of IDX files, .npz, CSV, safetensors, or 'mnist'.", valueName: "path"))
    var data = "mnist"
    @Option(help: ArgumentHelp("Column of a CSV file that holds the label.", valueName: "name"))
    var labelColumn: String?
    @Option(
        help: ArgumentHelp("Part of the examples to test with, where the data has no test set.", valueName: "share"))
    var testFraction = 0.2

    var options: DatasetOptions { DatasetOptions(testFraction: testFraction, labelColumn: labelColumn) }

    var path: String {
        get throws(DeMLError) { try Paths.dataset(data, from: Paths.workingFolder) }
    }

    func dataset() throws(DeMLError) -> Dataset {
        guard (0..<1).contains(testFraction) else {
            throw DeMLError(.usage, "--test-fraction is to be from 0 to below 1, not \(testFraction)")
        }
        return try Dataset(path: path, options: options)
    }
}

/// The part of a dataset that a command works on.
enum Split: String, ExpressibleByArgument, CaseIterable {
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

    init(_ text: String) throws(DeMLError) {
        var path = Paths.resolved(text, from: Paths.workingFolder)
        if Files.isDirectory(path) {
            let best = path + "/best.safetensors"
            guard Files.exists(best) else {
                throw DeMLError(
                    .notFound, "the folder has no best.safetensors", place: Paths.shown(path),
                    hint: "name a weights file, or the folder of a run")
            }
            path = best
        }
        self.path = path
        do throws(DeMLError) {
            // Mapped: a model that somebody names is complete, and is in memory once instead of three times.
            weights = try WeightsFile(Safetensors(contentsOf: path, mapping: true))
        } catch {
            throw error.place?.contains(path) == true ? error : error.within(Paths.shown(path))
        }
    }
}
