import CKernels

/// y = layers(x) + projection(x), or layers(x) + x.
///
/// Both branches read x's values. The layers write x's gradient first, then the projection's (in an array of its own) or
/// y's gradient is added to it.
final class Residual: Operation {
    /// A chain of operations from `input` to `output`.
    struct Branch {
        let operations: [any Operation]
        let input: Activations
        let output: Activations
    }

    private let x: Activations
    private let y: Activations
    private let layers: Branch
    private let projection: Branch?

    init(_ x: Activations, _ y: Activations, layers: Branch, projection: Branch?) {
        self.x = x
        self.y = y
        self.layers = layers
        self.projection = projection
    }

    func forward(_ pass: Pass) {
        for operation in layers.operations { operation.forward(pass) }
        let count = pass.batch * y.size
        y.values.update(from: layers.output.values, count: count)
        if let projection {
            for operation in projection.operations { operation.forward(pass) }
            deml_add(pass.pool, count, projection.output.values, y.values)
        } else {
            deml_add(pass.pool, count, x.values, y.values)
        }
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        let count = pass.batch * y.size
        if let gradient = layers.output.gradient {
            gradient.update(from: dy, count: count)
            for operation in layers.operations.reversed() { operation.backward(pass) }
        }
        if let projection {
            if let gradient = projection.output.gradient {
                gradient.update(from: dy, count: count)
                for operation in projection.operations.reversed() { operation.backward(pass) }
            }
            if let dx = x.gradient, let added = projection.input.gradient {
                deml_add(pass.pool, pass.batch * x.size, added, dx)
            }
        } else if let dx = x.gradient {
            deml_add(pass.pool, count, dy, dx)
        }
    }
}
