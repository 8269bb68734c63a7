import Application
import ArgumentParser
import CommandLineSupport
import Tensors

extension ExportFormat: ExpressibleByArgument {}

/// The sizes of an example's dimensions: `3,224,224` or `3x224x224`.
struct InputShapeArgument: ExpressibleByArgument {
    let sizes: [Int]

    init?(argument: String) {
        let parts = argument.split(omittingEmptySubsequences: false) { $0 == "," || $0 == "x" }
        sizes = parts.compactMap { Int($0) }
        guard sizes.count == parts.count, sizes.count <= 8, sizes.allSatisfy({ (1...1 << 28).contains($0) }) else {
            return nil
        }
    }
}

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a model for PyTorch, ONNX or Keras, or another tool's model for DeML.",
        discussion: """
            pytorch: a safetensors file that load_state_dict takes, and a .py with its nn.Module. safetensors: the numbers \
            alone. deml: a weights file of DeML, from any model that is read here.

              deml export --model runs/mnist-mlp --to onnx
              deml export --model resnet.pt2 --to deml --output resnet.safetensors
              deml export --model detector.onnx --input-shape 3,480,640 --to deml
              deml export --model lenet.yaml --initial-weights lenet.pth --to deml
            """)

    @Option(
        help: ArgumentHelp(
            "A weights file, a run folder (its best model), .onnx, .pt2, .keras, .h5, or a description.",
            valueName: "file"))
    var model: String
    @Option(
        help: ArgumentHelp("The numbers of a model that is a description: safetensors, .pt, .pth.", valueName: "file"))
    var initialWeights: String?
    @Option(help: ArgumentHelp("pytorch, safetensors, onnx, keras or deml.", valueName: "format"))
    var to: ExportFormat
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp("The file to write. (default: the model's name in this folder)", valueName: "file"))
    var output: String?
    @Option(
        help: ArgumentHelp(
            "The loss of a model that does not say it. (default: cross_entropy for a vector of outputs)",
            valueName: "name"))
    var loss: String?
    @Option(
        help: ArgumentHelp(
            "An example's sizes, where the model leaves some open: 3,224,224, in its file's order.", valueName: "sizes")
    )
    var inputShape: InputShapeArgument?

    func run() throws {
        try CommandErrors.reported {
            let answer = try Application.ofThisProcess.export(
                ExportRequest(
                    model: model, initialWeights: initialWeights, format: to, output: output, loss: loss,
                    inputShape: inputShape?.sizes))
            for note in answer.notes { Output.standardError.line(note) }
            Output.standard.line("wrote \(answer.files.joined(separator: " and "))")
        }
    }
}
