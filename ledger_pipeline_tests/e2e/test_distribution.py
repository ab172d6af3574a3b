"""Our trees are OpenZeppelin's own, and Uniswap's contract pays every proof once, on a chain."""

import json
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from ledger_pipeline.core.distribution import MAX_AMOUNT, Distribution, DistributionTerms, WalletCredits, distribute
from ledger_pipeline.wallets import keccak256
from ledger_pipeline_tests.e2e.node_packages import answer_of, installed

OPENZEPPELIN = "@openzeppelin/merkle-tree@1.0.8"
UNISWAP, HARDHAT, VIEM = "@uniswap/merkle-distributor@1.0.1", "hardhat@2.26.3", "viem@2.57.20"
CASES = 1000
CHAIN_ID = 84532

TREES = """
import { readFileSync } from "node:fs";
import { SimpleMerkleTree } from "@openzeppelin/merkle-tree";
import { keccak_256 } from "@noble/hashes/sha3.js";
const word = (number) => BigInt(number).toString(16).padStart(64, "0");
for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  const hashes = manifest.leaves.map(({ index, account, amount }) =>
    "0x" + Buffer.from(keccak_256(Buffer.from(word(index) + account.slice(2) + word(amount), "hex"))).toString("hex"));
  const tree = SimpleMerkleTree.of(hashes);
  console.log(JSON.stringify([tree.root, hashes, hashes.map((hash) => tree.getProof(hash))]));
}
"""
CLAIMS = """
process.env.HARDHAT_CONFIG = require("node:path").join(__dirname, "hardhat.config.cjs");
const { readFileSync } = require("node:fs");
const { createPublicClient, createWalletClient, custom } = require("viem");
const hardhat = require("hardhat");
const artifact = (name) => {
  const { abi, bytecode } = JSON.parse(readFileSync(require.resolve(`@uniswap/merkle-distributor/build/${name}.json`)));
  return { abi, bytecode: bytecode.startsWith("0x") ? bytecode : `0x${bytecode}` };
};
const { total, proofs } = JSON.parse(readFileSync(0, "utf8"));
(async () => {
  const transport = custom(hardhat.network.provider);
  const chain = { id: 84532, name: "local", nativeCurrency: { name: "E", symbol: "E", decimals: 18 }, rpcUrls: {} };
  const reader = createPublicClient({ transport, chain });
  const [account] = await hardhat.network.provider.request({ method: "eth_accounts", params: [] });
  const writer = createWalletClient({ transport, chain, account });
  const mined = (hash) => reader.waitForTransactionReceipt({ hash, pollingInterval: 1 });
  const deployed = async ({ abi, bytecode }, ...args) =>
    ({ abi, address: (await mined(await writer.deployContract({ abi, bytecode, args }))).contractAddress });
  const token = await deployed(artifact("TestERC20"), "Token", "TKN", BigInt(total));
  const distributor = await deployed(artifact("MerkleDistributor"), token.address, proofs[0].merkleRoot);
  const call = async (contract, functionName, ...args) => {
    try {
      const { request } = await reader.simulateContract({ ...contract, functionName, args, account });
      await mined(await writer.writeContract(request));
      return "done";
    } catch (error) { return error.message; }
  };
  const balance = (of) => reader.readContract({ ...token, functionName: "balanceOf", args: [of] });
  await call(token, "transfer", distributor.address, BigInt(total));
  const claims = [];
  for (const { index, account: wallet, amount, proof } of proofs) {
    const before = await balance(wallet);
    const claim = (value) => call(distributor, "claim", BigInt(index), wallet, value, proof);
    const [forged, first, second] = [await claim(BigInt(amount) + 1n), await claim(BigInt(amount)),
      await claim(BigInt(amount))];
    claims.push({ forged, first, second, paid: String((await balance(wallet)) - before) });
  }
  console.log(JSON.stringify({ claims, left: String(await balance(distributor.address)) }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


def random_distribution(random: Random, claimants: int, most: int = MAX_AMOUNT) -> Distribution:
    """Of so many claimants, of whom some have the same wallet, some no credits, and some equal ones."""
    wallets = [f"0x{random.getrandbits(160):040x}" for _ in range(claimants)]
    rows = [
        WalletCredits(f"user:{random.getrandbits(64):016x}", random.choice(wallets), credits_)
        for credits_ in [1, *(random.choice([0, 7, random.getrandbits(62)]) for _ in range(claimants - 1))]
    ]
    terms = DistributionTerms(
        "distribution-1", UUID(int=1), UUID(int=2), f"0x{'ab' * 32}", CHAIN_ID, wallets[0], random.randint(1, most)
    )
    return distribute(terms, rows, keccak256)


@pytest.mark.e2e
def test_a_thousand_random_trees_are_openzeppelins_own(tmp_path: Path) -> None:
    node = installed(tmp_path, OPENZEPPELIN)
    script = tmp_path / "trees.mjs"
    script.write_text(TREES)
    random = Random(20260216)
    manifests = [random_distribution(random, random.choice([1, 2, 3, random.randint(4, 80)])) for _ in range(CASES)]
    answers = answer_of(node, script, given=json.dumps([manifest.to_json() for manifest in manifests])).splitlines()
    assert len(answers) == CASES
    for manifest, answer in zip(manifests, answers, strict=True):
        leaves = [leaf.to_json() for leaf in manifest.leaves]
        ours = [manifest.merkle_root, [leaf["leafHash"] for leaf in leaves], [leaf["proof"] for leaf in leaves]]
        assert json.loads(answer) == ours


@pytest.mark.e2e
def test_uniswaps_contract_pays_every_proof_once_and_refuses_a_second(tmp_path: Path) -> None:
    node = installed(tmp_path, UNISWAP, HARDHAT, VIEM)
    script = tmp_path / "claims.cjs"
    script.write_text(CLAIMS)
    (tmp_path / "hardhat.config.cjs").write_text(
        f'module.exports = {{ solidity: "0.8.28", networks: {{ hardhat: {{ chainId: {CHAIN_ID} }} }} }};\n'
    )
    manifest = random_distribution(Random(7), 40, most=10**24)
    proofs = [manifest.proof_file(leaf) for leaf in manifest.leaves]
    given = json.dumps({"total": str(manifest.terms.amount), "proofs": proofs})
    answer = json.loads(answer_of(node, script, given=given, timeout_seconds=120))
    assert len(answer["claims"]) == len(manifest.leaves) > 20
    for leaf, claim in zip(manifest.leaves, answer["claims"], strict=True):
        assert (claim["first"], claim["paid"]) == ("done", str(leaf.amount))
        assert "Invalid proof" in claim["forged"]
        assert "already claimed" in claim["second"]
    assert answer["left"] == "0"
