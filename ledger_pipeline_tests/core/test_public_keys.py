"""The keys that everybody has are those of every development node, and the smallest numbers."""

from ledger_pipeline.core.public_keys import DEVELOPMENT_ADDRESSES, is_public

HARDHAT = "test test test test test test test test test test test junk"
GANACHE = "myth like bonus scare over problem client lizard pioneer submit female collect"
TRUFFLE = "candy maple cake sugar pudding cream honey rich smooth crumble sweet treat"


def test_they_are_the_accounts_of_development_nodes_and_the_first_numbers() -> None:
    # Imported here: it takes seconds.
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    accounts = [
        Account.from_mnemonic(words, account_path=f"m/44'/60'/0'/0/{number}")
        for words, count in ((HARDHAT, 20), (GANACHE, 10), (TRUFFLE, 10))
        for number in range(count)
    ]
    accounts += [Account.from_key(number.to_bytes(32, "big")) for number in range(1, 11)]
    assert {account.address.lower() for account in accounts} == DEVELOPMENT_ADDRESSES
    assert is_public(accounts[1].address)
    assert not is_public("0x" + "1" * 40)
