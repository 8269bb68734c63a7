import Application
import ArgumentParser

/// Which examples a command works on.
struct DataOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A folder of IDX files, .npz, CSV, safetensors, or 'mnist'.", valueName: "path"))
    var data = "mnist"
    @Option(help: ArgumentHelp("Column of a CSV file that holds the label.", valueName: "name"))
    var labelColumn: String?
    @Option(
        help: ArgumentHelp("Part of the examples to test with, where the data has no test set.", valueName: "share"))
    var testFraction = 0.2

    var request: DataRequest { DataRequest(data: data, labelColumn: labelColumn, testFraction: testFraction) }
}

/// The part of a dataset that a command works on.
enum Split: String, ExpressibleByArgument, CaseIterable {
    case test, train

    var part: DatasetPart {
        switch self {
        case .test: .test
        case .train: .train
        }
    }
}
