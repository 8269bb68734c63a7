import CKernels
import Tensors

/// Branches side by side: what each makes of x, one behind the other along the channels (or the features of a vector):
/// [c, …] → [c₁ + c₂ + …, …]. A branch without layers is x itself, as in DenseNet; Inception and U-Net are made of this.
/// Parameters are named as those of a module with `self.branches`, an `nn.ModuleList` of `nn.Sequential`s, whose outputs go
/// through `torch.cat(…, dim=1)`.
struct Concat: LayerDefinition {
    static let type = "concat"
    static let options = ["branches"]

    var branches: [[Layer]]

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        guard !branches.isEmpty else { throw DeMLError(.missing, "concat has no branches") }
        guard branches.count <= ModelDescription.maximumLayers else {
            throw DeMLError(
                .tooLarge, "concat has \(branches.count) branches, more than \(ModelDescription.maximumLayers)")
        }
        var resolved: [[ResolvedLayer]] = []
        var output: [Int] = []
        for (index, layers) in branches.enumerated() {
            let branch = try place.branch("branches.\(index)", layers)
            let shape = branch.last?.output ?? place.input
            resolved.append(branch)
            guard !output.isEmpty else {
                output = shape
                continue
            }
            guard shape.dropFirst() == output.dropFirst() else {
                throw DeMLError(
                    .shape, "branch \(index) gives \(shape), which cannot be put beside the \(output) before it",
                    hint: "only the first size may differ")
            }
            output[0] = output[0].addingSaturated(shape[0])
        }
        return LayerShapes(output: output, branches: resolved)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? {
        for branch in layer.branches {
            if let layout = branch.preferredLayout { return layout }
        }
        return nil
    }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        var made: [NetworkBuilder.Branch] = []
        for branch in layer.branches {
            // The first writes x's gradient, the others have one of their own, which is added.
            let input = made.isEmpty ? x : try network.sharedValues(of: x)
            let next = try network.branch(branch, from: input)
            made.append(made.isEmpty ? next : try network.converted(next, to: made[0].output.layout))
        }
        let y = try network.output(
            layer.output, made[0].output.layout, of: x, hasParameters: !layer.parameters.isEmpty)
        network.append(ConcatOperation(x, y, made))
        return y
    }
}

extension Concat {
    init(_ options: StrictContainer) throws {
        branches = try options.required("branches", [LayerList].self).map(\.layers)
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("branches", branches)
    }
}

extension Layer {
    /// Branches side by side along the channels (or the features of a vector); one without layers is x itself.
    public static func concat(branches: [[Layer]]) -> Layer { Layer(Concat(branches: branches)) }
}

/// y[b][c₁ + c₂ + …][…] = the branches' outputs. Each branch gets its part of y's gradient.
private final class ConcatOperation: Operation {
    private let x: Activations
    private let y: Activations
    private let branches: [NetworkBuilder.Branch]

    init(_ x: Activations, _ y: Activations, _ branches: [NetworkBuilder.Branch]) {
        self.x = x
        self.y = y
        self.branches = branches
    }

    /// A row of y is an example, or a pixel where channels come last; so many numbers of it are a branch's.
    private func rowsPerExample(_ part: Activations) -> (rows: Int, width: Int) {
        y.layout == .channelsLast ? (part.pixels, part.channels) : (1, part.size)
    }

    func forward(_ pass: Pass) {
        let stride = rowsPerExample(y).width
        var first = 0
        for branch in branches {
            for operation in branch.operations { operation.forward(pass) }
            let (rows, width) = rowsPerExample(branch.output)
            deml_copy_columns(
                pass.pool, pass.batch * rows, width, branch.output.values, width, y.values + first, stride)
            first += width
        }
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        let stride = rowsPerExample(y).width
        var first = 0
        for (index, branch) in branches.enumerated() {
            let (rows, width) = rowsPerExample(branch.output)
            if let gradient = branch.output.gradient {
                deml_copy_columns(pass.pool, pass.batch * rows, width, dy + first, stride, gradient, width)
                for operation in branch.operations.reversed() { operation.backward(pass) }
            }
            if index > 0, let dx = x.gradient, let added = branch.input.gradient {
                deml_add(pass.pool, pass.batch * x.size, added, dx)
            }
            first += width
        }
    }
}
