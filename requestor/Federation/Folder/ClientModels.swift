import Aggregation
import NeuralNetwork
import Tensors

extension RunPlan {
    /// What stays with each client, as a checkpoint has it; nil where the settings let nothing stay.
    func clients(_ state: Safetensors?) throws(DeMLError) -> LocalBatchNorm? {
        guard configuration.averaging.localBatchNorm else { return nil }
        var clients = LocalBatchNorm(model.batchNorms)
        if let state { try clients.take(state) }
        return clients
    }
}

extension CheckpointStore {
    /// What stays with each client, as a round left it; nil where nothing does.
    func clientState(round: Int) throws -> Safetensors? {
        let path = folder.clientState(round: round)
        return Files.exists(path) ? try Safetensors(contentsOf: path) : nil
    }

    /// Writes each client's own model, where it is not the shared one.
    func saveClientModels(_ end: RoundWeights) throws {
        guard let local = end.local else { return }
        try storage.createDirectory(folder.clients)
        for client in local.values.keys.sorted() {
            var weights = end.weights
            weights.parameters = local.parameters(of: client, shared: weights.parameters) ?? weights.parameters
            try storage.replace(folder.clientModel(client), with: weights.safetensors(round: end.round).encoded())
        }
    }
}
